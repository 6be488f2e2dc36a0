// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// collect takes a listing that must not fail.
func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func TestLinksAreFiltered(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Name: "x", Group: 5}, Peer: Link{Name: "y"}})
	})
	names := func(f LinkFilter) string {
		var s []string
		for _, l := range collect(t, host.Links(f)) {
			s = append(s, l.Name)
		}
		slices.Sort(s)
		return strings.Join(s, " ")
	}
	all := names(LinkFilter{})
	for _, test := range []struct {
		f    LinkFilter
		want string
	}{
		{LinkFilter{Kind: "bridge"}, "cni0"}, {LinkFilter{Kind: "veth"}, "host0 x y"}, {LinkFilter{Master: 10}, "host0"},
		{LinkFilter{Master: 10, Kind: "veth"}, "host0"}, {LinkFilter{Group: 5}, "x"}, {LinkFilter{Kind: "veth", Master: 999}, ""},
	} {
		if got := names(test.f); got != test.want {
			t.Errorf("%+v lists %q, want %q", test.f, got, test.want)
		}
	}
	if !strings.Contains(all, "cni0") || !strings.Contains(all, "lo") {
		t.Errorf("all are %q", all)
	}
}

func TestRoutesAreFiltered(t *testing.T) {
	host, container := goldenWorld(t)
	m := netip.MustParsePrefix
	host.must(t, func(b *Batch) {
		b.Create(Route{Dst: m("10.3.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.2"), MTU: 1400, AdvMSS: 1360, Priority: 50, Table: 1000})
		b.Append(DefaultRoute(netip.MustParseAddr("fd01::2")))
		b.Append(DefaultRoute(netip.MustParseAddr("fd01::3")))
	})
	got := collect(t, host.Routes(RouteFilter{Family: unix.AF_INET, Table: 1000}))
	want := []Route{{Dst: m("10.3.0.0/16"), Gateway: netip.MustParseAddr("10.1.0.2"), Link: 10, MTU: 1400, AdvMSS: 1360, Priority: 50, Table: 1000, Protocol: unix.RTPROT_BOOT}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// It comes back as it was, whoever made it.
	host.must(t, func(b *Batch) {
		got[0].Protocol = unix.RTPROT_RA
		b.Delete(want[0])
		b.Create(got[0])
	})
	if again := collect(t, host.Routes(RouteFilter{Family: unix.AF_INET, Table: 1000})); !slices.Equal(again, got) {
		t.Errorf("got %+v, want %+v", again, got)
	}
	// So does one that expires, with the time that it has left.
	soon := Route{Dst: m("fd05::/64"), Link: 10, Priority: 50, Table: 1000, Expires: 3600}
	host.must(t, func(b *Batch) { b.Create(soon) })
	for range 2 {
		list := collect(t, host.Routes(RouteFilter{Family: unix.AF_INET6, Table: 1000}))
		if len(list) != 1 || list[0].Dst != soon.Dst || list[0].Expires < 1 || list[0].Expires > 3600 {
			t.Fatalf("got %+v, want %+v", list, soon)
		}
		host.must(t, func(b *Batch) { b.Ensure(list[0]) })
	}
	// Both next hops of what IPv6 made one route of.
	var gateways []string
	for _, r := range collect(t, host.Routes(RouteFilter{Family: unix.AF_INET6})) {
		if r.Dst.Bits() == 0 {
			gateways = append(gateways, r.Gateway.String())
		}
	}
	if want := []string{"fd01::2", "fd01::3"}; !slices.Equal(gateways, want) {
		t.Errorf("gateways %v, want %v", gateways, want)
	}
	if got := collect(t, container.Routes(RouteFilter{Family: unix.AF_INET})); len(got) != 0 {
		t.Errorf("container has %+v", got)
	}
	main := collect(t, host.Routes(RouteFilter{Family: unix.AF_INET, Link: 10}))
	if len(main) != 1 || main[0].Dst != m("10.1.0.0/24") || main[0].Scope != ScopeLink || main[0].Protocol != unix.RTPROT_KERNEL || main[0].Src != netip.MustParseAddr("10.1.0.1") {
		t.Errorf("route of the link's prefix: %+v", main)
	}
	all := collect(t, host.Routes(RouteFilter{Family: unix.AF_INET, Link: 10, AnyTable: true}))
	if !slices.Equal(all, slices.Concat(main, got)) && !slices.Equal(all, slices.Concat(got, main)) {
		t.Errorf("of all tables: %+v", all)
	}
}

// A route whose time is over stays until the kernel comes to remove it. It mustn't look as if it were for good.
func TestLifetime(t *testing.T) {
	for ticks, want := range map[int32]int{0: 0, 1: 1, 100: 1, 101: 2, math.MaxInt32: 21474837, -1: 1, math.MinInt32: 1} {
		info := make([]byte, 32)
		binary.NativeEndian.PutUint32(info[8:], uint32(ticks))
		if got := lifetime(&attrs{val: info}); got != want {
			t.Errorf("%d ticks: got %d, want %d", ticks, got, want)
		}
	}
}

func TestNeighboursAndFDB(t *testing.T) {
	host, _ := goldenWorld(t)
	m1, m2 := mac(t, "02:00:00:00:00:01"), mac(t, "02:00:00:00:00:02")
	v4, v6 := netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd01::2")
	host.must(t, func(b *Batch) {
		b.Create(Neigh{Link: 10, Addr: v4, MAC: m1})
		b.Create(Neigh{Link: 10, Addr: v6, MAC: m1})
		b.Create(Neigh{Link: 20, MAC: m2})
	})
	found := map[netip.Addr]bool{}
	for _, n := range collect(t, host.Neighs(10)) {
		if n.State == NeighPermanent && n.MAC.String() == m1.String() && n.Link == 10 {
			found[n.Addr] = true
		}
	}
	if !found[v4] || !found[v6] {
		t.Errorf("neighbours: %v", found)
	}
	static := slices.ContainsFunc(collect(t, host.FDB(20)), func(n Neigh) bool {
		return n.MAC.String() == m2.String() && n.State == NeighNoARP && n.Link == 20
	})
	if !static {
		t.Errorf("fdb: %+v", collect(t, host.FDB(20)))
	}
	if out := nstest.Run(t, host.ns.Path(), "bridge", "fdb", "show", "dev", "host0"); !strings.Contains(out, "02:00:00:00:00:02 master cni0 static") {
		t.Errorf("bridge fdb says\n%s", out)
	}
}

func TestListingsEndEarly(t *testing.T) {
	host, _ := goldenWorld(t)
	for range host.Links(LinkFilter{}) {
		break
	}
	if _, err := host.Link("cni0"); err != nil {
		t.Error(err)
	}
}

// TestListingsSurviveChurn lists while links come and go: each listing is whole or says that it
// isn't.
func TestListingsSurviveChurn(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	other, err := Dial(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	done := make(chan error)
	go func() {
		var b Batch
		for range 50 {
			b.Reset()
			b.Create(Bridge{Link: Link{Name: "churn"}})
			b.Delete(Link{Name: "churn"})
			if err := other.Do(&b); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 50 {
		seen := false
		var failed error
		for l, err := range host.Links(LinkFilter{}) {
			failed = err
			seen = seen || l.Name == "host0"
		}
		if !seen && !errors.Is(failed, ErrInterrupted) {
			t.Errorf("host0 was missed: %v", failed)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
