// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Each network here gives IPv4 and IPv6 addresses; DATA is where.
const dualStack = `{"cniVersion":"1.0.0","name":"net","type":"bridge","bridge":"br0","isGateway":true,"ipMasq":true,` +
	`"ipam":{"type":"host-local","ranges":[[{"subnet":"10.9.0.0/24"}],[DATA]],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}}`

// An asker asks a container that was attached just now a single question, and hears how often its
// host or container had to look for the neighbour: kernels ask again after a second, which a first
// packet that's lost shows by.
type asker struct {
	from, looks string // who asks, and who looks for the neighbour then; "" is the host
}

// lost returns why an address's first answer counts as lost, or "". Only what's lost takes as long
// as the bound.
func (a asker) lost(w *world, addr netip.Addr) string {
	var fd int
	err := w.do(a.looks, func() (err error) {
		all := uint16(unix.ETH_P_ALL)
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(all>>8|all<<8))
		return err
	})
	if err != nil {
		return err.Error()
	}
	defer unix.Close(fd)
	if err := w.reach(a.from, addr, 10); err != nil {
		return err.Error()
	}
	if n := solicitations(fd, addr); n > 1 {
		return fmt.Sprintf("%s was looked for %d times", addr, n)
	}
	return ""
}

// solicitations counts the questions for a neighbour that left by any link but a bridge's port.
func solicitations(fd int, addr netip.Addr) (n int) {
	frame := make([]byte, 256)
	out := map[int]int{}
	for {
		size, from, err := unix.Recvfrom(fd, frame, 0)
		if err != nil {
			for _, of := range out {
				n = max(n, of)
			}
			return n
		}
		if l := from.(*unix.SockaddrLinklayer); l.Pkttype == unix.PACKET_OUTGOING && solicits(frame[:size], addr) {
			out[l.Ifindex]++
		}
	}
}

// solicits tells whether a frame asks who has an address: by ARP (RFC 826), or by a neighbour
// solicitation (RFC 4861) to all who might.
func solicits(frame []byte, addr netip.Addr) bool {
	const ether, ip6, solicitation = 14, 40, 135
	switch {
	case len(frame) >= ether+28 && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_ARP:
		return addr.Is4() && frame[ether+7] == 1 && [4]byte(frame[ether+24:]) == addr.As4()
	case len(frame) >= ether+ip6+24 && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6:
		return addr.Is6() && frame[0] == 0x33 && frame[ether+6] == unix.IPPROTO_ICMPV6 && frame[ether+ip6] == solicitation &&
			[16]byte(frame[ether+ip6+8:]) == addr.As16()
	}
	return false
}

// An answering world is a host with a router outside, which knows the way to the containers.
type answering struct {
	*world
	t           *testing.T
	lost        map[string]int
	late, asked map[string]int
	gaveUp      bool // the last ADD may have gone on without an address that wasn't in use yet
}

// patience is for how long an ADD waits until the kernel has an IPv6 address in use. It goes on without.
const patience = time.Second

func newAnswering(t *testing.T) *answering {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	if err := w.netns("out"); err != nil {
		t.Fatal(err)
	}
	w.must("", "ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", "out")
	for _, line := range []string{"addr add 192.0.2.2/24 dev uplink", "addr add 2001:db8::2/64 dev uplink nodad", "link set uplink up"} {
		w.must("", "ip", strings.Fields(line)...)
	}
	for _, line := range []string{"addr add 192.0.2.1/24 dev eth0", "addr add 2001:db8::1/64 dev eth0 nodad", "link set lo up", "link set eth0 up",
		"route add 10.9.0.0/24 via 192.0.2.2", "route add fd00:9::/64 via 2001:db8::2"} {
		w.must("out", "ip", strings.Fields(line)...)
	}
	for _, name := range []string{"uplink", "eth0"} { // their own addresses first
		where := map[string]string{"uplink": "", "eth0": "out"}[name]
		w.must(where, "timeout", "60", "sh", "-c", "while ip -6 addr show dev "+name+" | grep -q tentative; do sleep 0.05; done; "+
			"until ip -6 route show table local dev "+name+" | grep -q fe80; do sleep 0.05; done")
	}
	w.must("out", "ping", "-c1", "-W10", "2001:db8::2")
	w.must("out", "ping", "-c1", "-W10", "192.0.2.2")
	w.must("", "ping", "-c1", "-W10", "2001:db8::1")
	return &answering{world: w, t: t, lost: map[string]int{}, late: map[string]int{}, asked: map[string]int{}}
}

// add attaches a container, which it makes, and returns its addresses.
func (w *answering) add(container, conf string, args ...string) (addrs []netip.Addr) {
	w.t.Helper()
	if err := w.netns(container); err != nil {
		w.t.Fatal(err)
	}
	start := time.Now()
	a, err := w.run(call{verb: "ADD", container: container, ifName: "eth0", conf: []byte(conf), env: map[string]string{"CNI_ARGS": strings.Join(args, ";")}})
	w.gaveUp = time.Since(start) >= patience
	var r struct {
		IPs []struct{ Address netip.Prefix }
	}
	if err != nil || a.status != 0 || json.Unmarshal(a.stdout, &r) != nil {
		w.t.Fatalf("%v: %s", err, a.stdout)
	}
	for _, ip := range r.IPs {
		addrs = append(addrs, ip.Address.Addr())
	}
	return addrs
}

// ask counts what's lost of one question for each of the addresses, by whom. What's only late may
// be the machine's fault, and so may what's lost after an ADD that gave up waiting.
func (w *answering) ask(what string, by asker, addrs []netip.Addr) {
	for _, addr := range addrs {
		what := fmt.Sprintf("%s, asked by %q, at %s", what, by.from, addr.Unmap().String()[:3])
		start := time.Now()
		if lost := by.lost(w.world, addr); lost != "" && !w.gaveUp {
			w.lost[what+": "+lost]++
		}
		w.asked[what]++
		if time.Since(start) > 500*time.Millisecond {
			w.late[what]++
		}
	}
}

func (w *answering) del(container, conf string) {
	w.t.Helper()
	if a, err := w.run(call{verb: "DEL", container: container, ifName: "eth0", conf: []byte(conf)}); err != nil || a.status != 0 {
		w.t.Fatalf("%v: %s", err, a.stdout)
	}
	if err := w.vanish(container, false); err != nil {
		w.t.Fatal(err)
	}
}

func (w *answering) end() {
	for what, n := range w.lost {
		w.t.Errorf("%s: %d times", what, n)
	}
	for what, n := range w.late {
		if n > 1 && n == w.asked[what] {
			w.t.Errorf("%s: the answer always took more than half a second", what)
		}
	}
	if err := w.vanish("out", false); err != nil {
		w.t.Error(err)
	}
	w.finish()
}

var (
	byHost    = asker{from: "", looks: ""}
	byOutside = asker{from: "out", looks: ""}
	byPeer    = asker{from: "peer", looks: "peer"}
)

// The first packets to the first containers of a bridge that's new arrive, in both families: at the
// first and at those after it, from the host, from outside and from a container.
func TestFirstAnswerOnNewBridge(t *testing.T) {
	w := newAnswering(t)
	conf := strings.Replace(dualStack, "DATA", `{"subnet":"fd00:9::/64"}`, 1)
	for round := range 6 {
		first := []asker{byOutside, byHost}[round%2]
		w.ask("the first", first, w.add("peer", conf))
		w.ask("the second", byOutside, w.add("c2", conf))
		w.ask("the third", byPeer, w.add("c3", conf))
		w.ask("the fourth", byHost, w.add("c4", conf))
		for _, name := range []string{"peer", "c2", "c3", "c4"} {
			w.del(name, conf)
		}
		if round%3 < 2 { // a bridge that's there, but without a port, is as new
			w.must("", "ip", "link", "del", "br0")
		}
	}
	w.end()
}

// A bridge that somebody else made may be looking for duplicates of its own address, and one with a
// multicast querier passes on only what was asked for.
func TestFirstAnswerOnForeignBridge(t *testing.T) {
	w := newAnswering(t)
	conf := strings.Replace(dualStack, "DATA", `{"subnet":"fd00:9::/64"}`, 1)
	for range 4 {
		w.must("", "ip", "link", "add", "br0", "type", "bridge", "mcast_querier", "1")
		w.must("", "ip", "link", "set", "br0", "up")
		w.ask("the first", byOutside, w.add("peer", conf))
		for range 3 {
			w.ask("the second", byPeer, w.add("c2", conf))
			w.del("c2", conf)
		}
		w.del("peer", conf)
		w.must("", "ip", "link", "del", "br0")
	}
	w.end()
}

// An address that's given again is answered for at once, though its last owner had another MAC: by
// a new container, of one that asks from anywhere.
func TestFirstAnswerOfReusedAddress(t *testing.T) {
	const fixed = `{"type":"static","addresses":[{"address":"10.9.0.77/24","gateway":"10.9.0.1"},{"address":"fd00:9::77/64","gateway":"fd00:9::1"}],` +
		`"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`
	two := strings.Replace(dualStack, "DATA", `{"subnet":"fd00:9::/64","rangeStart":"fd00:9::2","rangeEnd":"fd00:9::3"}`, 1)
	single := strings.Replace(two, `[{"subnet":"10.9.0.0/24"}],`, "", 1)
	static := two[:strings.Index(two, `"ipam":`)+len(`"ipam":`)] + fixed + "}"
	ptp := strings.Replace(two, `"bridge","bridge":"br0","isGateway":true`, `"ptp"`, 1)
	for name, tt := range map[string]struct{ conf, peer string }{
		"dual stack":   {two, two},
		"IPv6":         {single, single},
		"given":        {static, two},
		"ptp":          {ptp, ptp},
		"explicit MAC": {two, two},
	} {
		t.Run(name, func(t *testing.T) {
			w := newAnswering(t)
			w.add("peer", tt.peer)
			for i, by := range []asker{byHost, byPeer, byOutside, byOutside, byPeer, byHost, byPeer} {
				if name == "ptp" {
					by.looks = "" // there it's the host's part
				}
				container := fmt.Sprintf("c%d", i)
				var args []string
				if (name == "given" || name == "explicit MAC") && i%2 == 0 {
					args = []string{fmt.Sprintf("MAC=02:00:00:00:00:%02x", i)}
				}
				addrs := w.add(container, tt.conf, args...)
				w.ask("address "+fmt.Sprint(i), by, addrs)
				// All know it by this MAC when it goes.
				for _, other := range []asker{byHost, byPeer} {
					w.ask("later", other, addrs)
				}
				w.del(container, tt.conf)
			}
			w.del("peer", tt.peer)
			w.end()
		})
	}
}
