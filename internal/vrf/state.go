// SPDX-License-Identifier: Apache-2.0

package vrf

import (
	"slices"
	"time"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// Bounds of what an attachment waits for.
const (
	dadTimeout     = 5 * time.Second        // duplicate address detection
	carrierTimeout = 100 * time.Millisecond // it goes on without
)

// A state is what a link loses when it's taken down and up.
type state struct {
	addrs  []rtnl.Addr  // of IPv6; those of IPv4 stay
	routes []rtnl.Route // in one table
}

// state is the link's, with its routes in a table. What a router gave expires, and isn't part of it:
// a link that comes up asks the routers again.
func (v *visit) state(table uint32) (s state, _ error) {
	for a, err := range v.conn.Addrs(v.link.Index, unix.AF_INET6) {
		if err != nil {
			return s, fault.Wrap("failed getting list of IP addresses for "+v.ifName, err)
		}
		if a.Scope == rtnl.ScopeGlobal && a.Permanent {
			s.addrs = append(s.addrs, a.Addr)
		}
	}
	for r, err := range v.conn.Routes(rtnl.RouteFilter{Link: v.link.Index, Table: table}) {
		if err != nil {
			return s, fault.Wrap("failed getting all routes for "+v.ifName, err)
		}
		if r.Link == v.link.Index && r.Protocol != unix.RTPROT_RA {
			s.routes = append(s.routes, r)
		}
	}
	return s, nil
}

// restore gives the link its addresses and routes back as far as it lacks them. The routes go to a
// table. After an error it goes on: it's also the undo.
func (v *visit) restore(was state, table uint32) error {
	now, err := v.state(table)
	if err != nil {
		return err
	}
	var b rtnl.Batch
	for _, a := range was.addrs {
		if !slices.ContainsFunc(now.addrs, func(other rtnl.Addr) bool { return other.Prefix == a.Prefix }) {
			b.Create(a)
		}
	}
	var first error
	if b.Len() > 0 {
		first = fault.Wrap("could not restore addresses to "+v.ifName+" @ "+v.keys.name, v.conn.Do(&b))
		if err := v.conn.WaitDAD(v.link.Index, dadTimeout); err != nil && first == nil {
			first = fault.Wrap("failed getting local/host addresses for "+v.ifName, err)
		}
		if now, err = v.state(table); err != nil { // the addresses have brought routes along
			return err
		}
	}
	b.Reset()
	lost(&b, was.routes, now.routes, table)
	if err := v.conn.Do(&b); err != nil && first == nil {
		first = fault.Wrap("could not add route", err)
	}
	return first
}

// lost appends the routes that a table lacks. Those on the link come first, since gateways are
// looked for there. A route replaces another one to the same destination, such as the kernel's own
// for the subnet of an address, but not its own next hops.
func lost(b *rtnl.Batch, was, now []rtnl.Route, table uint32) {
	var done []rtnl.Route
	for _, byGateway := range []bool{false, true} {
		for _, r := range was {
			if r.Gateway.IsValid() != byGateway || slices.ContainsFunc(now, func(other rtnl.Route) bool { return same(r, other) }) {
				continue
			}
			r.Table = table
			if slices.ContainsFunc(done, func(other rtnl.Route) bool { return other.Dst == r.Dst && other.Priority == r.Priority }) {
				b.Append(r)
			} else {
				b.Ensure(r)
			}
			done = append(done, r)
		}
	}
}

// same reports whether two routes are equal, whatever their tables and lifetimes.
func same(a, b rtnl.Route) bool {
	a.Table, a.Protocol, a.Expires = b.Table, b.Protocol, b.Expires // the last one's time goes on
	return a == b
}
