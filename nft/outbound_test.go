// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// outboundBy gives a sender outbound addresses.
func outboundBy(a Sender, addrs ...string) Sender {
	a.Outbound = [2]netip.Addr{}
	for _, s := range addrs {
		o := netip.MustParseAddr(s)
		a.Outbound[pick(familyOf(o), 0, 1)] = o
	}
	return a
}

func TestOutboundAddressIsSeenOutside(t *testing.T) {
	w := newWorld(t)
	ip(t, w.host, "addr add 198.51.100.77/24 dev out") // of IPv6 the kernel would masquerade by the newest
	outside := func(four, six, why string) {
		t.Helper()
		datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}.wantSource(t, four, why)
		datagram{from: w.c1, at: w.outside, to: "2001:db8::2"}.wantSource(t, six, why)
	}
	a := outboundBy(onC1, "198.51.100.77", "2001:db8::77")
	must(t, w.conn.Attach(a))
	outside("198.51.100.77", "2001:db8::77", "both families have one")
	var answered bool
	for range tries {
		if _, answered = (datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}).send(t, true, true); answered {
			break
		}
	}
	if !answered {
		t.Error("no answer came back")
	}
	datagram{from: w.c1, at: w.c2, to: "10.1.0.3"}.wantSource(t, "10.1.0.2", "its own subnet isn't outside")
	must(t, w.conn.Attach(outboundBy(onC1, "198.51.100.78")))
	outside("198.51.100.78", "2001:db8::1", "one family has one, another than before")
	must(t, w.conn.Attach(onC1))
	outside("198.51.100.1", "2001:db8::1", "neither family has one")
	must(t, w.conn.Detach(a))
	outside("10.1.0.2", "fd00:1::2", "detached")
}

// The address may change with each attachment, and whoever removes one needn't know it.
func TestOutboundAttachDetach(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	plain := attachment("c1", "10.1.0.2/24", "10.1.0.9/32", "fd00:1::2/64")
	both := outboundBy(plain, "192.0.2.7", "2001:db8::7")
	other := outboundBy(attachment("c2", "10.1.0.3/24"), "192.0.2.7")
	must(t, c.Attach(plain, attachment("c2", "10.1.0.3/24")))
	wants(t, list(t, ns), false, "outbound")
	must(t, c.Attach(other))
	wants(t, list(t, ns), true, `10.1.0.3 comment "mynet/c2/eth0" : 192.0.2.7`)
	wants(t, list(t, ns), false, "outbound6")
	for _, a := range []Sender{both, outboundBy(plain, "192.0.2.8", "2001:db8::7"), outboundBy(plain, "2001:db8::8"), plain, both} {
		for range 2 {
			must(t, c.Attach(a))
			must(t, c.CheckSender(a))
		}
		want := []Sender{a, other}
		if diff := cmp.Diff(want, collect(t, c, "mynet"), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
			t.Errorf("want (-), got (+):\n%s", diff)
		}
		for _, x := range []Sender{plain, both, outboundBy(plain, "192.0.2.9")} {
			if err := c.CheckSender(x); (err == nil) != cmp.Equal(x, a, cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})) {
				t.Errorf("with %v, %v is right: %v", a.Outbound, x.Outbound, err)
			}
		}
	}
	for name, detach := range map[string]func() error{
		"without the address": func() error { return c.Detach(plain) },
		"by owner":            func() error { return c.DetachOwner(plain.Owner) },
		"all others":          func() error { return c.DetachExcept("mynet", []Owner{other.Owner}) },
	} {
		must(t, c.Attach(both))
		must(t, detach())
		if l := list(t, ns); strings.Contains(l, "c1/eth0") {
			t.Errorf("%s: left\n%s", name, l)
		}
		must(t, c.CheckSender(other))
	}
	// What another owner has is taken over, all of it.
	must(t, c.Attach(both))
	thief := attachment("thief", "10.1.0.2/24")
	must(t, c.Attach(thief))
	wants(t, list(t, ns), true, "10.1.0.9 comment \"mynet/c1/eth0\" : 192.0.2.7")
	wants(t, list(t, ns), false, "10.1.0.2 comment \"mynet/c1/eth0\"")
	nstest.Run(t, ns, "nft", "flush", "ruleset")
	must(t, c.Restore([]Sender{both, other}))
	must(t, c.CheckSender(both))
	must(t, c.CheckSender(other))
	must(t, c.DetachExcept("mynet", nil))
	if got := shapeOf(t, ns); got != "" {
		t.Errorf("after garbage collection: got\n%s\nwant nothing", got)
	}
	for _, bad := range [][2]netip.Addr{{netip.MustParseAddr("2001:db8::1")}, {{}, netip.MustParseAddr("192.0.2.2")}, {netip.MustParseAddr("::ffff:192.0.2.1")}} {
		a := plain
		a.Outbound = bad
		if c.Attach(a) == nil {
			t.Errorf("%v: accepted", bad)
		}
	}
}
