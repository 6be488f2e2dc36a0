// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net/netip"

	"golang.org/x/sys/unix"
)

// dumpRetries is how often a dump that was overtaken by a change starts again.
const dumpRetries = 64

// ErrInterrupted is the error of a listing that changes overtook 64 times in a row
// (NLM_F_DUMP_INTR). Such a listing may have missed or doubled an object, so nothing of it is
// yielded. It can be tried again.
var ErrInterrupted = errors.New("rtnl: changes kept overtaking the listing")

// dump asks for many objects, and starts again when a change overtook the listing. Nothing is
// yielded before the whole listing is known.
func dump[T any](c *Conn, what string, request func(), decode func([]byte, func(T)) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := dumpAll(c, what, request, decode)
		for _, t := range all {
			if !yield(t, nil) {
				return
			}
		}
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

func dumpAll[T any](c *Conn, what string, request func(), decode func([]byte, func(T)) error) ([]T, error) {
	if err := c.setStrict(); err != nil {
		return nil, err
	}
	var all []T
	add := func(t T) { all = append(all, t) }
	for range dumpRetries {
		all = all[:0]
		request()
		err := c.ask(what, func(data []byte) error { return decode(data, add) })
		if err != ErrInterrupted {
			return all, err
		}
	}
	return nil, ErrInterrupted
}

// setStrict makes the kernel obey all filters in requests, once for a conn. Before Linux 4.20 it
// obeys some of them only. So listings by an index, a table or a kind are filtered again here.
// LinkFilter.Master needn't be: links have been filtered so since 4.6.
func (c *Conn) setStrict() error {
	if c.strict || c.lax {
		return nil
	}
	err := c.sock.SetStrict()
	if c.lax = errors.Is(err, unix.ENOPROTOOPT); err != nil && !c.lax {
		return fmt.Errorf("rtnl: %w", err)
	}
	c.strict = !c.lax
	return nil
}

// beginDump starts a request in c.enc.
func (c *Conn) beginDump(typ uint16) {
	c.enc.buf = c.enc.buf[:0]
	c.enc.begin(typ, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
}

// A LinkFilter picks links. A zero field matches any. The kernel filters by Kind and Master.
type LinkFilter struct {
	Kind   string
	Master int
	Group  uint32
}

// Links lists the links of the conn's namespace. Errors: [*Error], [ErrInterrupted].
func (c *Conn) Links(f LinkFilter) iter.Seq2[LinkState, error] {
	return dump(c, "list links", func() { c.requestLinks(nil, f) }, f.decode)
}

// linksIn lists links of the namespace that has a number here; nil is this one.
func (c *Conn) linksIn(number *int32, f LinkFilter) ([]LinkState, error) {
	return dumpAll(c, "list links", func() { c.requestLinks(number, f) }, f.decode)
}

func (c *Conn) requestLinks(number *int32, f LinkFilter) {
	c.beginDump(unix.RTM_GETLINK)
	c.linkHeader(unix.AF_UNSPEC, 0)
	c.enc.u32(unix.IFLA_EXT_MASK, skipStats)
	if number != nil {
		c.enc.u32(unix.IFLA_TARGET_NETNSID, uint32(*number))
	}
	if f.Master != 0 {
		c.enc.u32(unix.IFLA_MASTER, uint32(f.Master))
	}
	if f.Kind != "" {
		info := c.enc.nest(unix.IFLA_LINKINFO)
		c.enc.str(unix.IFLA_INFO_KIND, f.Kind)
		c.enc.endNest(info)
	}
}

func (f LinkFilter) decode(b []byte, add func(LinkState)) error {
	m, err := decodeLink(b)
	if err == nil && (f.Group == 0 || m.Group == f.Group) && (f.Kind == "" || m.Kind == f.Kind) {
		add(m.LinkState)
	}
	return err
}

// Addrs lists the addresses of the link with an index; 0 is all links. The kernel filters. Family
// is unix.AF_INET, AF_INET6 or 0 for both. Errors: [*Error], [ErrInterrupted].
func (c *Conn) Addrs(link int, family uint8) iter.Seq2[AddrState, error] {
	return dump(c, "list addresses", func() { requestAddrs(c, link, family) }, addrsOf(link))
}

// addrsOf decodes an address that a link has.
func addrsOf(link int) func([]byte, func(AddrState)) error {
	return func(b []byte, add func(AddrState)) error {
		a, err := decodeAddr(b)
		if err == nil && (link == 0 || a.Link == link) {
			add(a)
		}
		return err
	}
}

// A RouteFilter picks routes, in the kernel. A zero field matches any, except that zero Table is
// [TableMain].
type RouteFilter struct {
	Family uint8 // unix.AF_INET or AF_INET6
	Link   int
	Table  uint32
	// AnyTable lists those of all tables, whatever Table says. They include the kernel's own of the
	// local table only as far as they are unicast.
	AnyTable bool
}

// Routes lists unicast routes of a table, which is empty if it doesn't exist. A route with several
// next hops is listed once for each. Errors: [*Error], [ErrInterrupted].
func (c *Conn) Routes(f RouteFilter) iter.Seq2[Route, error] { return c.routes(f, decodeRoutes) }

func (c *Conn) routes(f RouteFilter, decode func([]byte, func(Route)) error) iter.Seq2[Route, error] {
	table := f.Table
	if table == 0 {
		table = unix.RT_TABLE_MAIN
	}
	routes := dump(c, "list routes", func() {
		c.beginDump(unix.RTM_GETROUTE)
		c.enc.fixed(f.Family, 0, 0, 0, 0, 0, 0, unix.RTN_UNICAST)
		c.enc.fixed32(0)
		if !f.AnyTable {
			c.enc.u32(unix.RTA_TABLE, table)
		}
		if f.Link != 0 {
			c.enc.u32(unix.RTA_OIF, uint32(f.Link))
		}
	}, func(b []byte, add func(Route)) error { return f.decode(b, decode, add) })
	return func(yield func(Route, error) bool) {
		for r, err := range routes {
			// The kernel makes a table with its first route.
			if e, ok := as[*Error](err); ok && e.Errno == unix.ENOENT {
				return
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// decode decodes a route, unless the filter leaves it out. One of several next hops that matches brings
// the others.
func (f RouteFilter) decode(b []byte, decode func([]byte, func(Route)) error, add func(Route)) error {
	if len(b) >= unix.SizeofRtMsg && (b[7] != unix.RTN_UNICAST || binary.NativeEndian.Uint32(b[8:])&unix.RTM_F_CLONED != 0) {
		return nil
	}
	if f.Table == unix.RT_TABLE_MAIN {
		f.Table = 0 // as in a Route
	}
	var hops []Route
	picked := false
	err := decode(b, func(r Route) {
		hops = append(hops, r)
		picked = picked || (f.AnyTable || r.Table == f.Table) && (f.Link == 0 || r.Link == f.Link)
	})
	if picked && err == nil {
		for _, r := range hops {
			add(r)
		}
	}
	return err
}

// decodeRoutes decodes a route, once for each next hop.
func decodeRoutes(b []byte, add func(Route)) error {
	r, hops, err := decodeRoute(b)
	switch {
	case err != nil:
		return err
	case hops == nil:
		add(r)
	case !r.nextHops(hops, func(r Route) bool { add(r); return true }):
		return errShort
	}
	return nil
}

// Neighs lists the IPv4 and IPv6 neighbours of the link with an index. Errors: [*Error],
// [ErrInterrupted].
func (c *Conn) Neighs(link int) iter.Seq2[Neigh, error] {
	return c.neighs("list neighbours", unix.AF_UNSPEC, link)
}

// FDB lists the forwarding table of the bridge's port with an index. Errors: [*Error],
// [ErrInterrupted].
func (c *Conn) FDB(port int) iter.Seq2[Neigh, error] {
	return c.neighs("list fdb", unix.AF_BRIDGE, port)
}

// neighs lists a family's entries of the link with an index; 0 is all links. The index is in the
// header for the FDB, and an attribute otherwise.
func (c *Conn) neighs(what string, family uint8, link int) iter.Seq2[Neigh, error] {
	return dump(c, what, func() {
		c.beginDump(unix.RTM_GETNEIGH)
		c.enc.fixed(family, 0, 0, 0)
		if family == unix.AF_BRIDGE {
			c.enc.fixed32(uint32(link))
			c.enc.fixed32(0)
			return
		}
		c.enc.fixed32(0)
		c.enc.fixed32(0)
		if link != 0 {
			c.enc.u32(unix.NDA_IFINDEX, uint32(link))
		}
	}, func(b []byte, add func(Neigh)) error {
		n, err := decodeNeigh(b)
		if err == nil && (link == 0 || n.Link == link) {
			add(n)
		}
		return err
	})
}

// PeerAddrs lists the addresses of the other end of a veth that was read by this conn, in whatever
// namespace that is (IFA_TARGET_NETNSID, Linux 5.0; older kernels: EOPNOTSUPP). The kernel numbers the namespaces of peers
// when it's asked about a link. Errors: [*Error], [ErrInterrupted].
func (c *Conn) PeerAddrs(l LinkState) iter.Seq2[AddrState, error] {
	const what = "list peer's addresses"
	if err := c.setStrict(); err == nil && c.lax && l.peerNetNS.known {
		// It would list this namespace's.
		return func(yield func(AddrState, error) bool) {
			yield(AddrState{}, &Error{Change: what, Reason: "needs Linux 5.0", Errno: unix.EOPNOTSUPP})
		}
	}
	return dump(c, what, func() {
		requestAddrs(c, l.PeerIndex, unix.AF_UNSPEC)
		if l.peerNetNS.known {
			c.enc.u32(unix.IFA_TARGET_NETNSID, uint32(l.peerNetNS.number))
		}
	}, addrsOf(l.PeerIndex))
}

func requestAddrs(c *Conn, link int, family uint8) {
	c.beginDump(unix.RTM_GETADDR)
	c.enc.fixed(family, 0, 0, 0)
	c.enc.fixed32(uint32(link))
}

// VLANs lists the VLANs of a bridge's port, or of the bridge itself, by ranges. A kernel without VLAN
// filtering has none. Errors: [*Error], [ErrInterrupted].
func (c *Conn) VLANs(port int) iter.Seq2[PortVLAN, error] {
	return func(yield func(PortVLAN, error) bool) {
		for v, err := range dump(c, "list vlans", func() {
			c.beginDump(rtmGetVLAN)
			c.enc.fixed(unix.AF_BRIDGE, 0, 0, 0)
			c.enc.fixed32(uint32(port))
		}, decodeVLANs) {
			if e, ok := as[*Error](err); ok && e.Errno == unix.EOPNOTSUPP {
				c.linkVLANs(port)(yield)
				return
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

// linkVLANs is VLANs before Linux 5.6: the kernel lists all ports of all bridges.
func (c *Conn) linkVLANs(port int) iter.Seq2[PortVLAN, error] {
	return dump(c, "list vlans", func() {
		c.beginDump(unix.RTM_GETLINK)
		c.linkHeader(unix.AF_BRIDGE, 0)
		c.enc.u32(unix.IFLA_EXT_MASK, vlanRanges)
	}, func(b []byte, add func(PortVLAN)) error { return decodeLinkVLANs(b, port, add) })
}

// HasAddr reports whether a link has an address with a prefix. It lists one link's addresses of one
// family. Errors are those of [Conn.Addrs].
func (c *Conn) HasAddr(link int, p netip.Prefix) (bool, error) {
	for a, err := range c.Addrs(link, familyOf(p.Addr())) {
		if err != nil {
			return false, err
		}
		if a.Prefix == p {
			return true, nil
		}
	}
	return false, nil
}
