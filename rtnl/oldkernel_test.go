// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/test/oldkernel"
)

// A kernel before 4.20 lists more than it's asked for. What comes of it is the same.
func TestListingsOfAnOldKernel(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Name: "x", Group: 5}, Peer: Link{Name: "y"}})
		b.Create(Veth{Link: Link{Name: "host0"}, Peer: Link{Name: "eth0", NetNS: container.ns}})
		for _, name := range []string{"x", "y"} { // without what comes by itself, at its own time
			b.Set(Link{Name: name, LinkLocal: Off})
			b.Set(Link{Name: name, State: Up})
		}
		b.Create(Veth{Link: Link{Name: "other"}, Peer: Link{Name: "another"}})
	})
	for _, args := range [][]string{
		{"address", "add", "10.9.0.1/24", "dev", "x"}, {"address", "add", "fd09::1/64", "dev", "x", "nodad"},
		{"route", "add", "10.10.0.0/16", "via", "10.9.0.2"}, {"route", "add", "10.11.0.0/16", "via", "10.9.0.2", "table", "1000"},
		{"route", "add", "blackhole", "10.12.0.0/16"}, {"-6", "route", "add", "fd10::/64", "via", "fd09::2"},
		{"route", "add", "10.13.0.0/16", "nexthop", "via", "10.9.0.2", "nexthop", "dev", "y"},
		{"rule", "add", "from", "10.9.0.0/24", "lookup", "1000"}, {"neighbour", "add", "10.9.0.7", "lladdr", "02:00:00:00:00:07", "dev", "x"},
	} {
		nstest.Run(t, host.ns.Path(), "ip", args...)
	}
	for _, name := range []string{"x", "y"} {
		nstest.Run(t, host.ns.Path(), "bridge", "fdb", "add", "02:00:00:00:00:08", "dev", name, "self")
	}
	x, err := host.Index("x")
	if err != nil {
		t.Fatal(err)
	}
	now := listings(host.Conn, x)
	for i, list := range now {
		if len(list) < 5 {
			t.Errorf("listing %d is empty: %s", i, list)
		}
	}
	lax, err := Dial(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	defer lax.Close()
	var before []string
	if err := oldkernel.Kernel(unix.ENOSYS).Run(func() { before = listings(lax, x) }); err != nil {
		t.Fatal(err)
	}
	if !lax.lax {
		t.Fatal("the kernel isn't old")
	}
	for i := range now {
		if now[i] != before[i] {
			t.Errorf("got  %s\nwant %s", before[i], now[i])
		}
	}
	// The addresses in another namespace can't be had, which is said.
	l, err := lax.Link("host0")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range lax.PeerAddrs(l) {
		if !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("the peer's addresses: %v", err)
		}
	}
}

// listings are a text for each way to list.
func listings(c *Conn, link int) []string {
	return []string{
		listed(c.Links(LinkFilter{}), nameOf), listed(c.Links(LinkFilter{Kind: "veth"}), nameOf), listed(c.Links(LinkFilter{Group: 5}), nameOf),
		listed(c.LinksEverywhere(LinkFilter{Kind: "veth"}), nameOf),
		listed(c.Addrs(0, 0), prefixOf), listed(c.Addrs(link, 0), prefixOf), listed(c.Addrs(link, unix.AF_INET6), prefixOf),
		listed(c.Routes(RouteFilter{Family: unix.AF_INET}), text), listed(c.Routes(RouteFilter{Family: unix.AF_INET, Link: link}), text),
		listed(c.Routes(RouteFilter{Family: unix.AF_INET, Table: 1000}), text), listed(c.Routes(RouteFilter{Family: unix.AF_INET, Link: link, AnyTable: true}), text),
		listed(c.Routes(RouteFilter{Family: unix.AF_INET6, Link: link}), text), listed(c.Routes(RouteFilter{AnyTable: true}), text),
		listed(c.Neighs(link), func(n Neigh) string { // those of multicast come at their own time
			if n.Addr.IsMulticast() {
				return ""
			}
			return fmt.Sprintf("%+v", n)
		}),
		listed(c.FDB(link), func(n Neigh) string {
			if n.MAC[0]&1 != 0 {
				return ""
			}
			return fmt.Sprintf("%+v", n)
		}),
		listed(c.Rules(0), ruleText), listed(c.Rules(unix.AF_INET), ruleText),
	}
}

func nameOf(l LinkState) string   { return l.Name }
func prefixOf(a AddrState) string { return fmt.Sprint(a.Link, a.Prefix) }
func text(r Route) string         { return fmt.Sprintf("%+v", r) }
func ruleText(r RuleState) string { return fmt.Sprintf("%+v", r) }

func listed[T any](seq iter.Seq2[T, error], text func(T) string) string {
	var list []string
	for v, err := range seq {
		if s := text(v); err != nil || s != "" {
			list = append(list, fmt.Sprint(s, err, "\n"))
		}
	}
	slices.Sort(list)
	return fmt.Sprint(slices.Compact(list)) // asked for another's links, the kernel may number this namespace, too
}
