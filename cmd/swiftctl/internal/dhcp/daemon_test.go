// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// The server learns who asks, and what is provided and requested. A second ADD asks nobody, and the
// server hears of the end.
func TestLease(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	keys := `,"provide":[{"option":"host-name","fromArg":"HOST"},{"option":"60","value":"vendor"},{"option":"12","fromArg":"NONE"}],
		"request":[{"option":"121"},{"option":"routers"}],"priority":77`
	want := "10.77.0.9/24 via 10.77.0.1, 0.0.0.0/0 via 10.77.0.1 77"
	asked := 0
	for i := range 2 {
		if got := n.add(d, keys).text(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if again := n.questions(); i == 0 {
			asked = again
		} else if again != asked {
			t.Error("the second ADD asks the server")
		}
	}
	m := n.last()
	if m.MessageType() != dhcpv4.MessageTypeRequest || string(m.GetOneOption(dhcpv4.OptionClientIdentifier)) != "\x00c1/lan/eth0" || m.HostName() != "box" ||
		m.ClassIdentifier() != "vendor" || !m.RequestedIPAddress().Equal(leasedIP) || m.IsBroadcast() {
		t.Errorf("asked %s", m.Summary())
	}
	if got, want := string(m.GetOneOption(dhcpv4.OptionParameterRequestList)), "\x79\x03\x01"; got != want {
		t.Errorf("requested %q, want %q", got, want)
	}
	n.wantCount(d, 1)
	for range 2 {
		if err := d.Release(n.args("")); err != nil {
			t.Fatal(err)
		}
	}
	n.wait("the release", func() bool { return n.heard(dhcpv4.MessageTypeRelease) == 1 })
	if m := n.last(dhcpv4.MessageTypeRelease); !m.ClientIPAddr.Equal(leasedIP) || !m.ServerIdentifier().Equal(serverIP) || string(m.GetOneOption(dhcpv4.OptionClientIdentifier)) != "\x00c1/lan/eth0" {
		t.Errorf("released %s", m.Summary())
	}
	n.wantCount(d, 0)
}

// A server is asked to broadcast its answers.
func TestBroadcast(t *testing.T) {
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	d.o.Broadcast = true
	if n.add(d, ""); !n.last().IsBroadcast() {
		t.Errorf("asked %s", n.last().Summary())
	}
}

// Routes of option 121 stand alone. Those of option 33 have the lengths of their classes.
func TestRoutes(t *testing.T) {
	classless := dhcpv4.OptClasslessStaticRoute(
		&dhcpv4.Route{Dest: &net.IPNet{IP: net.IP{10, 9, 0, 0}, Mask: net.CIDRMask(16, 32)}, Router: net.IP{0, 0, 0, 0}},
		&dhcpv4.Route{Dest: &net.IPNet{IP: net.IP{0, 0, 0, 0}, Mask: net.CIDRMask(0, 32)}, Router: net.IP{10, 77, 0, 254}})
	static := dhcpv4.OptGeneric(dhcpv4.OptionStaticRoutingTable, []byte{10, 0, 0, 0, 10, 77, 0, 2, 192, 0, 2, 0, 10, 77, 0, 3, 1, 2, 3})
	for name, tt := range map[string]struct {
		with []dhcpv4.Modifier
		want string
	}{
		"121":       {[]dhcpv4.Modifier{dhcpv4.WithOption(classless), dhcpv4.WithOption(static)}, "10.9.0.0/16 via 0.0.0.0 0 scope 253, 0.0.0.0/0 via 10.77.0.254 0"},
		"33":        {[]dhcpv4.Modifier{dhcpv4.WithOption(static)}, "10.0.0.0/8 via 10.77.0.2 0, 192.0.2.0/24 via 10.77.0.3 0, 0.0.0.0/0 via 10.77.0.1 0"},
		"no router": {[]dhcpv4.Modifier{dhcpv4.WithoutOption(dhcpv4.OptionRouter)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 9})
			if err != nil {
				t.Fatal(err)
			}
			l := (&Daemon{ctx: t.Context()}).newLease("x", place{}, nil)
			if err := l.commit(give(m, 1, 2, 3, tt.with...)[0], time.Now()); err != nil {
				t.Fatal(err)
			}
			_, got, _ := strings.Cut(l.result(0).text(), ", ")
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// A lease goes on as long as its server renews it, or another does so in time.
func TestLeaseIsRenewed(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 1, 2, 10)
	d, _ := n.daemon()
	n.add(d, "")
	n.wait("two renewals", func() bool { return n.heard(dhcpv4.MessageTypeRequest) >= 3 })
	if m := n.last(); !m.ClientIPAddr.Equal(leasedIP) || m.ServerIdentifier() != nil || m.RequestedIPAddress() != nil {
		t.Errorf("renewal by %s", m.Summary())
	}
	// Nobody answers for a while; then it's another server, at the first question of another attempt.
	l := d.leases["c1/lan/eth0"]
	unanswered := 0
	other := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 2}))
	n.as(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		if unanswered++; unanswered <= tries {
			return nil
		}
		return give(m, 600, 900, 1200, other)
	})
	n.wait("the other's lease", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return time.Until(l.expiry) > time.Minute
	})
	n.wantCount(d, 1)
	if !n.isUp() {
		t.Error("the link is down")
	}
}

// A server that has lost its memory refuses to renew, and gives the same address again.
func TestServerForgets(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 1, 50, 60)
	d, _ := n.daemon()
	n.add(d, "")
	var refused atomic.Bool
	n.as(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		if m.MessageType() == dhcpv4.MessageTypeRequest && m.ServerIdentifier() == nil {
			refused.Store(true)
			return refuse(m)
		}
		return give(m, 600, 900, 1200)
	})
	n.wait("a second lease", func() bool {
		return n.last().MessageType() == dhcpv4.MessageTypeRequest && n.last().ServerIdentifier() != nil && refused.Load()
	})
	if got := n.add(d, "").text(); !strings.HasPrefix(got, "10.77.0.9/24") || !n.isUp() {
		t.Errorf("the lease is of %s, the link is up: %v", got, n.isUp())
	}
}

// A lease is lost when another address is offered instead, or when nobody answers. The link is set
// down then, and the next ADD begins anew.
func TestLeaseIsLost(t *testing.T) {
	for name, server := range map[string]func(*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4{
		"silent": silent,
		"another address": func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeRequest {
				return refuse(m)
			}
			return give(m, 1, 2, 3, dhcpv4.WithYourIP(net.IP{10, 77, 0, 10}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newLAN(t, 1, 2, 3)
			d, _ := n.daemon()
			n.add(d, "")
			if !n.isUp() {
				t.Fatal("the link is down")
			}
			n.as(server)
			n.wait("the end", func() bool { memory, file := n.count(d); return memory == 0 && file == 0 })
			if n.isUp() {
				t.Error("the link is up")
			}
			n.as(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 { return give(m, 600, 900, 1200) })
			if n.add(d, ""); !n.isUp() {
				t.Error("the link is down")
			}
		})
	}
}

// Without a usable answer ADD fails when its time is over, and nothing is left.
func TestNoUsableAnswer(t *testing.T) {
	unusable := func(with ...dhcpv4.Modifier) func(*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 { return give(m, 600, 900, 1200, with...) }
	}
	for name, tt := range map[string]struct {
		server   func(*dhcpv4.DHCPv4) []*dhcpv4.DHCPv4
		want     string
		released int
	}{
		"silent":              {silent, "no more tries", 0},
		"of another":          {unusable(dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4})), "no more tries", 0},
		"to another":          {unusable(dhcpv4.WithHwAddr(net.HardwareAddr{2, 0, 0, 0, 0, 1})), "no more tries", 0},
		"no server":           {unusable(dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier)), "no more tries", 0},
		"no address":          {unusable(dhcpv4.WithYourIP(net.IPv4zero)), "no more tries", 0},
		"a loopback address":  {unusable(dhcpv4.WithYourIP(net.IP{127, 0, 0, 1})), "no more tries", 0},
		"a multicast address": {unusable(dhcpv4.WithYourIP(net.IP{224, 0, 0, 1})), "no more tries", 0},
		"refuses": {func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeDiscover {
				return give(m, 1, 2, 3)
			}
			return refuse(m)
		}, "no more tries", 0},
		"no mask":       {unusable(dhcpv4.WithoutOption(dhcpv4.OptionSubnetMask)), "DHCP option Subnet Mask not found in DHCPACK", 1},
		"a broken mask": {unusable(dhcpv4.WithNetmask(net.IPMask{255, 0, 255, 0})), "DHCP option Subnet Mask not found in DHCPACK", 1},
		"no time":       {unusable(dhcpv4.WithLeaseTime(0)), "the server's lease lasts 0s", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newLAN(t, 1, 2, 3)
			n.as(tt.server)
			d, _ := n.daemon()
			if tt.released == 0 {
				d.o.ResendTimeout = impatient
			}
			if _, err := d.Allocate(n.args("")); err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			n.wantCount(d, 0)
			n.wait("the release", func() bool { return n.heard(dhcpv4.MessageTypeRelease) == tt.released })
		})
	}
}

// DEL ends an ADD that's still asking.
func TestReleaseEndsAllocate(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 1, 2, 3)
	n.as(silent)
	d, _ := n.daemon()
	d.o.ResendTimeout = time.Hour
	failed := make(chan error)
	go func() {
		_, err := d.Allocate(n.args(""))
		failed <- err
	}()
	n.wait("a message", func() bool { return n.heard(dhcpv4.MessageTypeDiscover) > 0 })
	if err := d.Release(n.args("")); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("ADD succeeds")
	}
	n.wantCount(d, 0)
}

// DEL works with what can be read: keys that have turned invalid don't keep the address.
func TestReleaseWithWrongKeys(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	n.add(d, "")
	if err := d.Release(n.args(`,"provide":5,"request":[7],"priority":"high"`)); err != nil {
		t.Error(err)
	}
	n.wantCount(d, 0)
	n.wait("the release", func() bool { return n.heard(dhcpv4.MessageTypeRelease) == 1 })
}

// The leases outlive the daemon: the next one has them, renews them and gives them back. Those of
// containers that have gone meanwhile it doesn't take up.
func TestNextDaemon(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 2, 50, 60)
	d, stop := n.daemon()
	first := n.add(d, `,"provide":[{"option":"host-name","value":"box"}]`).text()
	discovers, requests := n.heard(dhcpv4.MessageTypeDiscover), n.heard(dhcpv4.MessageTypeRequest)
	stop()
	if n.heard(dhcpv4.MessageTypeRelease) > 0 {
		t.Error("the first daemon gave the lease back")
	}
	d, stop = n.daemon()
	n.wantCount(d, 1)
	if got := n.add(d, "").text(); got != first || n.heard(dhcpv4.MessageTypeDiscover) != discovers {
		t.Errorf("got  %s\nwant %s", got, first)
	}
	n.wait("a renewal", func() bool { return n.heard(dhcpv4.MessageTypeRequest) > requests })
	if m := n.last(); m.HostName() != "box" {
		t.Errorf("renewal by %s", m.Summary())
	}
	stop()
	nstest.Run(t, n.container, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
	d, _ = n.daemon()
	n.wantCount(d, 0)
}

// A file that isn't this boot's, or no file of ours at all, is no reason not to start.
func TestStrangeState(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "rubbish": "x", "another boot": `{"boot":"x","leases":[{"clientID":"a"}]}`, "rubbish inside": `{"boot":"` + boot() + `","leases":[{"clientID":"a","ack":"AAAA"},{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := &lan{t: t, state: t.TempDir() + "/leases"}
			writeFile(t, n.state, text)
			d, _ := n.daemon()
			if memory, _ := n.count(d); memory != 0 {
				t.Errorf("%d leases", memory)
			}
		})
	}
}

// A container whose namespace nobody has any more ends its lease, while its link can still carry the
// release.
func TestContainerIsGone(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	n.add(d, "")
	staying := nstest.Command(n.container, "sleep", "1d")
	if err := staying.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = staying.Process.Kill() }()
	n.wait("the process inside", func() bool {
		return strings.Contains(nstest.Run(t, "", "ip", "netns", "pids", base(n.container)), "\n")
	})
	nstest.Remove(n.container)
	l := d.leases["c1/lan/eth0"]
	if l.link.isAbandoned() {
		t.Error("a namespace with a process is abandoned")
	}
	n.wantCount(d, 1)
	_ = staying.Process.Kill()
	_ = staying.Wait()
	n.wait("the release", func() bool { return n.heard(dhcpv4.MessageTypeRelease) == 1 })
	n.wait("the end", func() bool { memory, file := n.count(d); return memory == 0 && file == 0 })
}

// Another container by the same name has another link, and gets a lease of its own.
func TestNamesake(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	n.add(d, "")
	nstest.Run(t, n.container, "ip", "link", "delete", "eth0")
	nstest.Run(t, n.host, "ip", "link", "add", "h1", "up", "type", "veth", "peer", "name", "eth0", "netns", base(n.container))
	d.o.ResendTimeout = impatient
	if _, err := d.Allocate(n.args("")); err == nil || err.Error() != "no more tries" { // h1 has no server
		t.Errorf("got %v", err)
	}
	n.wantCount(d, 0)
}

// A link that isn't there is an error at once.
func TestNoLink(t *testing.T) {
	n := newLAN(t, 1, 2, 3)
	d, _ := n.daemon()
	a := n.args("")
	a.IfName = "eth7"
	if _, err := d.Allocate(a); err == nil || !strings.HasPrefix(err.Error(), `error looking up "eth7": `) {
		t.Errorf("got %v", err)
	}
	a.Netns = "/nowhere"
	if _, err := d.Allocate(a); err == nil || !absent(err) {
		t.Errorf("got %v", err)
	}
	a.StdinData = []byte("{")
	if err := d.Release(a); err == nil || !strings.HasPrefix(err.Error(), "error parsing netconf: ") {
		t.Errorf("got %v", err)
	}
	n.wantCount(d, 0)
}

// A client ID of the configuration's is that of all messages: a server knows no lease by another.
func TestClientIDIsProvided(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	keys := `,"provide":[{"option":"dhcp-client-identifier","value":"node-7"}]`
	n.add(d, keys)
	if err := d.Release(n.args(keys)); err != nil {
		t.Fatal(err)
	}
	n.wait("the release", func() bool { return n.heard(dhcpv4.MessageTypeRelease) == 1 })
	for _, m := range n.asked {
		if got := string(m.GetOneOption(dhcpv4.OptionClientIdentifier)); got != "node-7" {
			t.Errorf("%s has the client ID %q", m.MessageType(), got)
		}
	}
}

// The container may rename its link, which is renewed all the same.
func TestLinkIsRenamed(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 1, 50, 60)
	d, _ := n.daemon()
	n.add(d, "")
	nstest.Run(t, n.container, "ip", "link", "set", "eth0", "down")
	nstest.Run(t, n.container, "ip", "link", "set", "eth0", "name", "other0", "up")
	requests := n.heard(dhcpv4.MessageTypeRequest)
	n.wait("a renewal", func() bool { return n.heard(dhcpv4.MessageTypeRequest) > requests })
	n.wantCount(d, 1)
}

// A namespace that can't be opened is no reason to end a lease.
func TestNamespaceCannotBeOpened(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	n.add(d, "")
	a := n.args("")
	a.Netns = t.TempDir()
	if _, err := d.Allocate(a); err == nil {
		t.Error("ADD succeeds")
	}
	n.wantCount(d, 1)
	if n.heard(dhcpv4.MessageTypeRelease) > 0 {
		t.Error("the address was given back")
	}
}

// A question about a lease asks no server: a link that has lost its own stays down.
func TestCheck(t *testing.T) {
	t.Parallel()
	n := newLAN(t, 1, 2, 3)
	d, _ := n.daemon()
	if r, err := d.Check(n.args("")); err == nil {
		t.Error("before ADD:", r.text())
	}
	first := n.add(d, "").text()
	if r, err := d.Check(n.args("")); err != nil || r.text() != first {
		t.Errorf("got %v, %v", r, err)
	}
	n.as(silent)
	n.wait("the end", func() bool { memory, file := n.count(d); return memory == 0 && file == 0 })
	n.as(func(m *dhcpv4.DHCPv4) []*dhcpv4.DHCPv4 {
		return give(m, 600, 900, 1200, dhcpv4.WithYourIP(net.IP{10, 77, 0, 10}))
	})
	asked := n.questions()
	if r, err := d.Check(n.args("")); err == nil {
		t.Error("after the end:", r.text())
	}
	if n.isUp() || n.questions() != asked {
		t.Error("CHECK asks for a lease")
	}
	n.wantCount(d, 0)
}
