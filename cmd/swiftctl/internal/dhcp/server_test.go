// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// A lan is a host with a DHCP server and a container that's wired to it.
type lan struct {
	t         *testing.T
	host      string // paths of namespaces
	container string
	state     string // the daemon's file

	mu     sync.Mutex
	conn   net.PacketConn
	asked  []*dhcpv4.DHCPv4
	answer func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 // is the server
}

var (
	serverIP = net.IP{10, 77, 0, 1}
	leasedIP = net.IP{10, 77, 0, 9}
)

// newLAN makes one whose server gives leases of some seconds.
func newLAN(t *testing.T, renew, rebind, length int) *lan {
	t.Helper()
	n := &lan{t: t, host: nstest.New(t, "host"), container: nstest.New(t, "c1"), state: filepath.Join(t.TempDir(), "leases")}
	n.answer = func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 { return give(m, renew, rebind, length) }
	nstest.Run(t, n.host, "ip", "link", "add", "h0", "up", "type", "veth", "peer", "name", "eth0", "netns", filepath.Base(n.container))
	nstest.Run(t, n.host, "ip", "address", "add", serverIP.String()+"/24", "dev", "h0")
	var err error
	nstest.In(t, n.host, func() { n.conn, err = server4.NewIPv4UDPConn("h0", &net.UDPAddr{Port: 67}) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.conn.Close() })
	go n.serve()
	return n
}

func (n *lan) serve() {
	for b := make([]byte, 4096); ; {
		size, _, err := n.conn.ReadFrom(b)
		if err != nil {
			return
		}
		m, err := dhcpv4.FromBytes(b[:size])
		if err != nil {
			continue
		}
		n.mu.Lock()
		n.asked = append(n.asked, m)
		answer := n.answer
		n.mu.Unlock()
		for _, a := range answer(m) {
			if a != nil {
				_, _ = n.conn.WriteTo(a.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
			}
		}
	}
}

// as changes the server.
func (n *lan) as(answer func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer = answer
}

func silent(*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 { return nil }

// give is a server that gives everybody the same address.
func give(m *dhcpv4.DHCPv4, renew, rebind, length int, with ...dhcpv4.Modifier) []*dhcpv4.DHCPv4 {
	kind := dhcpv4.MessageTypeOffer
	switch m.MessageType() {
	case dhcpv4.MessageTypeRelease:
		return nil
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
	}
	seconds := func(code dhcpv4.OptionCode, n int) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.Option{Code: code, Value: dhcpv4.Duration(time.Duration(n) * time.Second)})
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, append([]dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(leasedIP),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverIP)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithOption(dhcpv4.OptRouter(serverIP)), seconds(dhcpv4.OptionRenewTimeValue, renew),
		seconds(dhcpv4.OptionRebindingTimeValue, rebind), dhcpv4.WithLeaseTime(uint32(length))}, with...)...)
	if err != nil {
		panic(err)
	}
	return []*dhcpv4.DHCPv4{reply}
}

// refuse is a server that doesn't know the address.
func refuse(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
	if m.MessageType() != dhcpv4.MessageTypeRequest {
		return nil
	}
	return give(m, 1, 2, 3, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak), dhcpv4.WithYourIP(nil))
}

// heard counts messages of a type.
func (n *lan) heard(kind dhcpv4.MessageType) (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.asked {
		if m.MessageType() == kind {
			count++
		}
	}
	return count
}

// questions counts what the server was asked, and not how often: a question that isn't answered in time is sent again, and
// may come after the answer. A renewal is by the lease's question.
func (n *lan) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[dhcpv4.TransactionID]bool{}
	for _, m := range n.asked {
		all[m.TransactionID] = true
	}
	return len(all)
}

// last is the last message, or the last of a type.
func (n *lan) last(kind ...dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range slices.Backward(n.asked) {
		if len(kind) == 0 || slices.Contains(kind, m.MessageType()) {
			return m
		}
	}
	return nil
}

// impatient is how long ADD tries where it's to fail for want of an answer.
const impatient = 1500 * time.Millisecond

// daemon is one that soon asks again. stop ends it as a signal does.
func (n *lan) daemon() (d *Daemon, stop func()) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d = New(ctx, Options{Timeout: time.Second, ResendMax: 100 * time.Millisecond, ResendTimeout: time.Minute,
		Watch: 20 * time.Millisecond, State: n.state, Log: n.log, rest: 1})
	stop = sync.OnceFunc(func() {
		cancel()
		d.Close()
	})
	n.t.Cleanup(stop)
	return d, stop
}

// log is the test's, as long as that lasts.
func (n *lan) log(format string, args ...any) {
	if n.t.Context().Err() == nil {
		n.t.Logf(format, args...)
	}
}

// args are a call of the container's.
func (n *lan) args(keys string) *Args {
	return &Args{ContainerID: "c1", Netns: n.container, IfName: "eth0", Args: "IgnoreUnknown=1;HOST=box",
		StdinData: []byte(`{"cniVersion":"1.0.0","name":"lan","type":"bridge","ipam":{"type":"dhcp"` + keys + `}}`)}
}

// add must succeed.
func (n *lan) add(d *Daemon, keys string) *Result {
	n.t.Helper()
	r, err := d.Allocate(n.args(keys))
	if err != nil {
		n.t.Fatal(err)
	}
	return r
}

// wait waits for what a hang alone keeps from coming.
func (n *lan) wait(what string, done func() bool) {
	n.t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// isUp reports whether the container's link is.
func (n *lan) isUp() bool {
	n.t.Helper()
	_, flags, _ := strings.Cut(nstest.Run(n.t, n.container, "ip", "-o", "link", "show", "eth0"), "<")
	flags, _, _ = strings.Cut(flags, ">")
	return slices.Contains(strings.Split(flags, ","), "UP")
}

// count is how many leases a daemon has, in memory and in its file.
func (n *lan) count(d *Daemon) (memory, file int) {
	d.mu.Lock()
	memory = len(d.leases)
	d.mu.Unlock()
	text, _ := os.ReadFile(n.state)
	return memory, strings.Count(string(text), "clientID")
}

func (n *lan) wantCount(d *Daemon, want int) {
	n.t.Helper()
	if memory, file := n.count(d); memory != want || file != want {
		n.t.Errorf("%d leases, %d in the file, want %d", memory, file, want)
	}
}

// text is a result in one line.
func (r *Result) text() string {
	var list []string
	for _, ip := range r.IPs {
		list = append(list, fmt.Sprint(ip.Address.String(), " via ", ip.Gateway))
	}
	for _, r := range r.Routes {
		scope := ""
		if r.Scope != nil {
			scope = fmt.Sprint(" scope ", *r.Scope)
		}
		list = append(list, fmt.Sprint(r.Dst.String(), " via ", r.GW, " ", r.Priority, scope))
	}
	return strings.Join(list, ", ")
}

func base(path string) string { return filepath.Base(path) }

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
