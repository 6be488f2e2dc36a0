// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// track makes a namespace that tracks flows, in a zone too, and sends datagrams in it.
func track(t testing.TB, to ...string) *Conn {
	t.Helper()
	ns := nstest.New(t, "host")
	nstest.Run(t, ns, "ip", "link", "set", "lo", "up")
	for _, line := range []string{
		"add table inet t", "add chain inet t raw { type filter hook output priority raw; }", "add rule inet t raw udp dport 7777 ct zone set 9",
		"add chain inet t nat { type nat hook output priority -100; }", "add rule inet t nat udp dport 5353 dnat ip to 127.0.0.9:53",
		"add chain inet t f { type filter hook output priority 0; }", "add rule inet t f ct state invalid drop",
	} {
		nstest.Run(t, ns, "nft", line)
	}
	var c *Conn
	var err error
	nstest.In(t, ns, func() {
		for _, a := range to {
			if err = datagram(netip.MustParseAddrPort(a)); err != nil {
				return
			}
		}
		c, err = Dial()
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func datagram(to netip.AddrPort) error {
	family := unix.AF_INET
	var sa unix.Sockaddr
	if to.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	} else {
		family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte("x"), 0, sa)
}

// flows lists what a filter finds, "dst>answerer" in the order of the kernel's table.
func flows(t *testing.T, c *Conn, f Filter) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	if _, err := c.Forget(f, func(f Flow) bool {
		text := f.Dst.String()
		if f.Translated {
			text += ">" + f.ReplySrc.String()
		}
		found[text] = true
		return false
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func wantFlows(t *testing.T, got map[string]bool, want ...string) {
	t.Helper()
	for _, w := range want {
		if !got[w] {
			t.Errorf("%s isn't in %v", w, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestForgetOneOfMany(t *testing.T) {
	c := track(t, "127.0.0.1:53", "127.0.0.2:53", "127.0.0.1:54", "127.0.0.1:5353", "[::1]:53", "127.0.0.1:7777")
	udp := Filter{Protocol: unix.IPPROTO_UDP}
	wantFlows(t, flows(t, c, udp), "127.0.0.1:53", "127.0.0.2:53", "127.0.0.1:54", "127.0.0.1:5353>127.0.0.9:53", "127.0.0.1:7777")
	wantFlows(t, flows(t, c, Filter{Protocol: unix.IPPROTO_UDP, DstPort: 54}), "127.0.0.1:54")
	wantFlows(t, flows(t, c, Filter{Protocol: unix.IPPROTO_UDP, IPv6: true}), "[::1]:53")
	wantFlows(t, flows(t, c, Filter{Protocol: unix.IPPROTO_TCP}))
	n, err := c.Forget(Filter{Protocol: unix.IPPROTO_UDP, DstPort: 53}, func(f Flow) bool { return f.Dst.Addr().String() == "127.0.0.2" })
	if n != 1 || err != nil {
		t.Errorf("forgot %d flows: %v", n, err)
	}
	// Of another zone, too.
	if n, err = c.Forget(Filter{Protocol: unix.IPPROTO_UDP, DstPort: 7777}, func(Flow) bool { return true }); n != 1 || err != nil {
		t.Errorf("forgot %d flows of a zone: %v", n, err)
	}
	if n, err = c.Forget(Filter{Protocol: unix.IPPROTO_UDP, IPv6: true}, func(Flow) bool { return true }); n != 1 || err != nil {
		t.Errorf("forgot %d flows of IPv6: %v", n, err)
	}
	wantFlows(t, flows(t, c, udp), "127.0.0.1:53", "127.0.0.1:54", "127.0.0.1:5353>127.0.0.9:53")
	wantFlows(t, flows(t, c, Filter{Protocol: unix.IPPROTO_UDP, IPv6: true}))
}

func TestEndMatching(t *testing.T) {
	c := track(t, "127.0.0.1:53", "127.0.0.2:53", "127.0.0.1:54", "127.0.0.1:5353", "[::1]:53", "[::1]:54", "127.0.0.1:7777")
	end := func(m Match, left ...string) {
		t.Helper()
		m.Protocol = unix.IPPROTO_UDP
		if err := c.End(m); err != nil {
			t.Fatal(err)
		}
		got := flows(t, c, Filter{Protocol: unix.IPPROTO_UDP})
		for f := range flows(t, c, Filter{Protocol: unix.IPPROTO_UDP, IPv6: true}) {
			got[f] = true
		}
		wantFlows(t, got, left...)
	}
	port := func(n uint16) netip.AddrPort { return netip.AddrPortFrom(netip.Addr{}, n) }
	end(Match{Dst: netip.MustParseAddrPort("127.0.0.2:53")}, "127.0.0.1:53", "127.0.0.1:54", "127.0.0.1:5353>127.0.0.9:53", "[::1]:53", "[::1]:54", "127.0.0.1:7777")
	end(Match{Dst: port(5353), ReplySrc: netip.MustParseAddrPort("127.0.0.8:53")}, "127.0.0.1:53", "127.0.0.1:54", "127.0.0.1:5353>127.0.0.9:53", "[::1]:53", "[::1]:54", "127.0.0.1:7777")
	end(Match{Dst: port(5353), ReplySrc: netip.MustParseAddrPort("127.0.0.9:53")}, "127.0.0.1:53", "127.0.0.1:54", "[::1]:53", "[::1]:54", "127.0.0.1:7777")
	end(Match{Dst: port(53)}, "127.0.0.1:54", "[::1]:53", "[::1]:54", "127.0.0.1:7777")
	end(Match{Dst: port(7777)}, "127.0.0.1:54", "[::1]:53", "[::1]:54")
	if err := c.End(Match{Protocol: unix.IPPROTO_UDP, Dst: netip.MustParseAddrPort("[::1]:54")}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of IPv6: got %v, want ErrUnsupported", err)
	}
	if err := c.End(Match{Protocol: unix.IPPROTO_SCTP, Dst: netip.MustParseAddrPort("127.0.0.1:54")}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of SCTP: got %v, want ErrUnsupported", err)
	}
	end(Match{Dst: port(9)}, "127.0.0.1:54", "[::1]:53", "[::1]:54")
}

// FuzzFlow: nothing panics, and what decodes has a destination.
func FuzzFlow(f *testing.F) {
	c := track(f, "127.0.0.1:53", "127.0.0.1:5353", "127.0.0.1:7777")
	if err := c.call(Filter{Protocol: unix.IPPROTO_UDP}.request(), func(b []byte) error { f.Add(bytes.Clone(b)); return nil }); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		flow, _, err := decodeFlow(b)
		if err == nil && !flow.Dst.IsValid() {
			t.Fatal("a flow to nowhere")
		}
		if err == nil && strings.Contains(flow.Dst.String(), "invalid") {
			t.Fatal(flow.Dst)
		}
	})
}

func BenchmarkForgetNothing(b *testing.B) {
	c := track(b, "127.0.0.1:53")
	for b.Loop() {
		if _, err := c.Forget(Filter{Protocol: unix.IPPROTO_UDP, DstPort: 53}, func(Flow) bool { return false }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEndNothing(b *testing.B) {
	c := track(b, "127.0.0.1:53")
	for b.Loop() {
		if err := c.End(Match{Protocol: unix.IPPROTO_UDP, Dst: netip.MustParseAddrPort("127.0.0.1:54")}); err != nil {
			b.Fatal(err)
		}
	}
}
