// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A world is a host with a bridge br0, two containers at it, and an outside that has no route back
// to them.
type world struct {
	host, c1, c2, outside string
	conn                  *Conn
}

// ip runs lines of ip(8) in a namespace.
func ip(t testing.TB, ns, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line != "" {
			nstest.Run(t, ns, "ip", strings.Fields(line)...)
		}
	}
}

// The bridge has two subnets of each family; c1 is in the first, c2 in the second.
func newWorld(t testing.TB) world {
	w := world{host: nstest.New(t, "host"), c1: nstest.New(t, "c1"), c2: nstest.New(t, "c2"), outside: nstest.New(t, "outside")}
	for _, ns := range []string{w.host, w.c1, w.c2, w.outside} {
		// A link-local address that waits for duplicate detection can't ask for neighbours.
		nstest.Run(t, ns, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad")
	}
	ip(t, w.host, `link set lo up
		link add br0 type bridge
		link set br0 up
		addr add 10.1.0.1/24 dev br0
		addr add 10.2.0.1/24 dev br0
		addr add fd00:1::1/64 dev br0 nodad
		addr add fd00:2::1/64 dev br0 nodad
		link add swc1 type veth peer name eth0 netns `+w.c1+`
		link add swc2 type veth peer name eth0 netns `+w.c2+`
		link add out type veth peer name eth0 netns `+w.outside+`
		link set swc1 master br0 up
		link set swc2 master br0 up
		link set out up
		addr add 198.51.100.1/24 dev out
		addr add 2001:db8::1/64 dev out nodad`)
	ip(t, w.c1, `link set eth0 address 02:00:00:00:00:01 up
		addr add 10.1.0.2/24 dev eth0
		addr add fd00:1::2/64 dev eth0 nodad
		route add default via 10.1.0.1
		route add default via fd00:1::1`)
	ip(t, w.c2, `link set eth0 address 02:00:00:00:00:02 up
		addr add 10.2.0.2/24 dev eth0
		addr add 10.1.0.3/24 dev eth0
		addr add fd00:2::2/64 dev eth0 nodad`)
	ip(t, w.outside, `link set eth0 up
		addr add 198.51.100.2/24 dev eth0
		addr add 2001:db8::2/64 dev eth0 nodad`)
	nstest.Run(t, w.host, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	w.conn = dial(t, w.host)
	return w
}

// port is where the receivers of datagrams listen.
const port = 4242

// A datagram goes from a namespace to an address, where another namespace listens.
type datagram struct {
	from   string
	source string // "" lets the kernel choose
	at, to string
}

// send sends the datagram and its answer, and returns the source that the receiver saw ("" if
// nothing came) and whether the answer came back. What's wanted has more time than what mustn't
// come: two seconds and half a one.
func (d datagram) send(t testing.TB, wanted, answerWanted bool) (seen string, answered bool) {
	t.Helper()
	to := netip.MustParseAddr(d.to)
	network := "udp4"
	if to.Is6() {
		network = "udp6"
	}
	var receiver, sender *net.UDPConn
	var err, err2 error
	nstest.In(t, d.at, func() {
		if to.IsMulticast() {
			zone := ""
			if to.Is6() {
				zone = "eth0"
			}
			var eth0 *net.Interface
			if eth0, err = net.InterfaceByName("eth0"); err == nil {
				receiver, err = net.ListenMulticastUDP(network, eth0, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.WithZone(zone), port)))
			}
			return
		}
		receiver, err = net.ListenUDP(network, &net.UDPAddr{Port: port})
	})
	nstest.In(t, d.from, func() {
		var local *net.UDPAddr
		if d.source != "" {
			local = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(d.source), 0))
		}
		sender, err2 = net.DialUDP(network, local, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port)))
	})
	must(t, errors.Join(err, err2))
	defer receiver.Close()
	defer sender.Close()
	if _, err := sender.Write([]byte("ask")); err != nil {
		t.Fatal(err)
	}
	must(t, receiver.SetReadDeadline(deadline(wanted)))
	buffer := make([]byte, 16)
	_, peer, err := receiver.ReadFromUDPAddrPort(buffer)
	if err != nil {
		return "", false
	}
	// Without a route back the answer is refused, or goes nowhere.
	_, _ = receiver.WriteToUDPAddrPort([]byte("answer"), peer)
	must(t, sender.SetReadDeadline(deadline(answerWanted)))
	_, err = sender.Read(buffer)
	return peer.Addr().Unmap().String(), err == nil
}

func deadline(wanted bool) time.Time {
	if wanted {
		return time.Now().Add(2 * time.Second)
	}
	return time.Now().Add(500 * time.Millisecond)
}

// tries is how often what's wanted is tried: a first datagram may be lost while neighbours are
// being learnt, and one may come late on a busy machine.
const tries = 30

// wantSource sends a datagram and wants to see it come from an address ("" is: not at all).
func (d datagram) wantSource(t testing.TB, want, why string) {
	t.Helper()
	// One from a wrong source is wrong at once.
	var got string
	for range tries {
		if got, _ = d.send(t, want != "", false); got != "" || want == "" {
			break
		}
	}
	if got != want {
		t.Errorf("to %s: came from %q, want %q: %s", d.to, got, want, why)
	}
}

var onC1 = attachment("c1", "10.1.0.2/24", "fd00:1::2/64")

func TestMasqueradeGivesAWayBack(t *testing.T) {
	w := newWorld(t)
	for _, d := range []struct {
		datagram
		own, masqueraded string
	}{
		{datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}, "10.1.0.2", "198.51.100.1"},
		{datagram{from: w.c1, at: w.outside, to: "2001:db8::2"}, "fd00:1::2", "2001:db8::1"},
	} {
		expect := func(source string, answer bool) {
			t.Helper()
			var got string
			var answered bool
			for range tries {
				if got, answered = d.send(t, true, answer); got != "" && (answered || !answer) {
					break
				}
			}
			if got != source || answered != answer {
				t.Errorf("to %s: came from %q, answered %v; want %q, %v", d.to, got, answered, source, answer)
			}
		}
		expect(d.own, false)
		must(t, w.conn.Attach(onC1))
		expect(d.masqueraded, true)
		must(t, w.conn.Detach(onC1))
		expect(d.own, false)
	}
}

func TestMasqueradeLeavesTheSubnetAlone(t *testing.T) {
	w := newWorld(t)
	must(t, w.conn.Attach(onC1))
	datagram{from: w.c1, at: w.c2, to: "10.1.0.3"}.wantSource(t, "10.1.0.2", "bridged")
	// Bridged traffic passes postrouting only with br_netfilter: by a route over the host it does
	// always.
	nstest.Run(t, w.host, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects; echo 0 >/proc/sys/net/ipv4/conf/br0/send_redirects")
	ip(t, w.c1, "route add 10.1.0.3/32 via 10.1.0.1")
	datagram{from: w.c1, at: w.c2, to: "10.1.0.3"}.wantSource(t, "10.1.0.2", "routed by the host")
	must(t, w.conn.Attach(attachment("c1", "10.1.0.2/31")))
	datagram{from: w.c1, at: w.c2, to: "10.1.0.3"}.wantSource(t, "10.1.0.2", "in a subnet of two")
	must(t, w.conn.Attach(attachment("c1", "10.1.0.2/32")))
	datagram{from: w.c1, at: w.c2, to: "10.1.0.3"}.wantSource(t, "10.1.0.1", "outside a subnet of one")
}

func TestMasqueradeToAnotherSubnetOfTheNetwork(t *testing.T) {
	w := newWorld(t)
	must(t, w.conn.Attach(onC1))
	datagram{from: w.c1, at: w.c2, to: "10.2.0.2"}.wantSource(t, "10.2.0.1", "another subnet is outside")
	datagram{from: w.c1, at: w.c2, to: "fd00:2::2"}.wantSource(t, "fd00:2::1", "another subnet is outside")
}

// The host itself sends with the container's address, since nothing routes multicast here. The
// address is at the link that leads out, as it decides where multicast goes.
func TestMasqueradeLeavesMulticastAlone(t *testing.T) {
	w := newWorld(t)
	ip(t, w.host, `addr add 10.1.0.2/32 dev out
		addr add fd00:1::2/128 dev out nodad
		route add 224.0.0.0/4 dev out`)
	must(t, w.conn.Attach(onC1))
	for _, x := range []struct{ source, to, want string }{
		{"10.1.0.2", "198.51.100.2", "198.51.100.1"},
		{"10.1.0.2", "224.1.2.3", "10.1.0.2"},
		{"fd00:1::2", "2001:db8::2", "2001:db8::1"},
		{"fd00:1::2", "ff02::4242%out", "fd00:1::2"},
	} {
		datagram{from: w.host, source: x.source, at: w.outside, to: x.to}.wantSource(t, x.want, "sent by the host")
	}
}

// Rules of others masquerade what has the mark of portmap's: netavark's, and those that stay of the reference's. They
// may be older than ours, or newer.
func TestPublishedPortShowsItsClients(t *testing.T) {
	others := map[string]func(ns string){
		"netavark's": func(ns string) {
			nstest.Run(t, ns, "nft", "add table inet netavark; add chain inet netavark POSTROUTING { type nat hook postrouting priority srcnat; }; "+
				"add rule inet netavark POSTROUTING meta mark and 0x2000 == 0x2000 masquerade")
		},
		"the reference's": func(ns string) {
			for _, tables := range []string{"iptables-nft", "ip6tables-nft"} {
				nstest.Run(t, ns, tables, "-t", "nat", "-A", "POSTROUTING", "-m", "mark", "--mark", "0x2000/0x2000", "-j", "MASQUERADE")
			}
		},
	}
	p := publication("c1", "10.1.0.2/24 fd00:1::2/64")
	p.Ports = []PortMapping{{Protocol: UDP, HostPort: port, ContainerPort: port}}
	for name, load := range others {
		for _, first := range []bool{true, false} {
			w := newWorld(t)
			if first {
				load(w.host)
			}
			publish(t, w.conn, p)
			if !first {
				load(w.host)
			}
			why := fmt.Sprintf("beside %s rules, which are older: %v", name, first)
			datagram{from: w.outside, at: w.c1, to: "198.51.100.1"}.wantSource(t, "198.51.100.2", why)
			datagram{from: w.outside, at: w.c1, to: "2001:db8::1"}.wantSource(t, "2001:db8::2", why)
			datagram{from: w.c2, source: "10.1.0.3", at: w.c1, to: "10.1.0.1"}.wantSource(t, "10.1.0.1", why+", from a neighbour")
			must(t, w.conn.CheckPublication(p))
		}
	}
}

func TestGuardDropsSpoofedFrames(t *testing.T) {
	w := newWorld(t)
	c1 := guardedBy(attachment("c1"), "swc1", "02:00:00:00:00:01")
	mac := func(mac string) { ip(t, w.c1, "link set eth0 address "+mac) }
	expect := func(from, source, why string) {
		t.Helper()
		datagram{from: from, at: w.host, to: "10.1.0.1"}.wantSource(t, source, why)
	}
	bridged := datagram{from: w.c1, at: w.c2, to: "10.1.0.3"}

	must(t, w.conn.Attach(c1))
	expect(w.c1, "10.1.0.2", "its own MAC")
	bridged.wantSource(t, "10.1.0.2", "its own MAC")
	mac("02:00:00:00:00:66")
	expect(w.c1, "", "a MAC not its own")
	bridged.wantSource(t, "", "a MAC not its own")
	if l := nstest.Run(t, w.host, "bridge", "fdb", "show", "br", "br0"); strings.Contains(l, "02:00:00:00:00:66") {
		t.Errorf("the bridge learnt from a dropped frame:\n%s", l)
	}
	expect(w.c2, "10.1.0.3", "c2 isn't guarded")

	must(t, w.conn.Attach(guardedBy(attachment("c2"), "swc2", "02:00:00:00:00:02")))
	mac("02:00:00:00:00:02")
	expect(w.c1, "", "c2's MAC at c1's link")
	mac("02:00:00:00:00:66")
	expect(w.c2, "10.1.0.3", "c2's MAC at c2's link")
	must(t, w.conn.Detach(c1))
	expect(w.c1, "10.1.0.2", "detached")
}

func listenIn(t testing.TB, ns string) (receiver *net.UDPConn) {
	t.Helper()
	var err error
	nstest.In(t, ns, func() { receiver, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port}) })
	must(t, err)
	return receiver
}

// dialFrom opens a socket in a namespace that sends to the outside.
func dialFrom(t testing.TB, ns string) (sender *net.UDPConn) {
	t.Helper()
	var err error
	nstest.In(t, ns, func() {
		sender, err = net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(198, 51, 100, 2), Port: port})
	})
	must(t, err)
	return sender
}
