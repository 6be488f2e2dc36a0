// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"math"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// TableMain is the table of routes that have no Table (RT_TABLE_MAIN, linux/rtnetlink.h).
const TableMain = unix.RT_TABLE_MAIN

// A Route is a unicast route. Dst, Table and Priority are its place. On Delete, all fields that are
// set must match. Of IPv6's the kernel compares the place, Link, Gateway and Protocol alone.
type Route struct {
	// Dst is the destination. Its host bits must be zero: the kernel refuses others.
	Dst netip.Prefix
	// Gateway is the next hop, of the same family. Without one the destination is on the link.
	Gateway netip.Addr
	// Link is the index of the link that packets leave by. With a Gateway the kernel can find it.
	Link int
	// MTU is the path's largest packet in bytes (RTAX_MTU).
	MTU int
	// AdvMSS is the TCP segment size to advertise in bytes (RTAX_ADVMSS).
	AdvMSS int
	// Priority orders routes to one destination, the lowest first. The kernel turns IPv6's zero
	// into 1024.
	Priority int
	// Scope is how far the destination is. It's ignored for IPv6.
	Scope Scope
	// Table is the routing table; 0 is [TableMain].
	Table uint32
	// Src is the source address that's preferred (RTA_PREFSRC).
	Src netip.Addr
	// Expires is how many seconds the route lasts from now on, 0 for good. Only IPv6's can end so
	// (RTA_EXPIRES, Linux 4.1). A listing has rounded it up. It's 1 for a route whose time is over
	// and that the kernel hasn't removed yet. Delete ignores it.
	Expires int
	// OnLink allows a Gateway that no route leads to (RTNH_F_ONLINK).
	OnLink bool

	// Protocol names the route's maker (RTPROT_*): 2 is the kernel itself, 3 an administrator. Zero
	// is 3, and on Delete it matches any.
	Protocol uint8
}

// DefaultRoute returns the route to everywhere, by a gateway of either family.
func DefaultRoute(gateway netip.Addr) Route {
	unspecified := netip.IPv6Unspecified()
	if gateway.Is4() {
		unspecified = netip.IPv4Unspecified()
	}
	return Route{Dst: netip.PrefixFrom(unspecified, 0), Gateway: gateway}
}

func (r Route) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWROUTE)
	scope, protocol, kind := r.Scope, r.Protocol, uint8(unix.RTN_UNICAST)
	if protocol == 0 {
		protocol = unix.RTPROT_BOOT
	}
	switch v {
	case set:
		b.unsupported(v, "route")
		return
	case remove:
		typ, protocol, kind = unix.RTM_DELROUTE, r.Protocol, unix.RTN_UNSPEC
		if scope == ScopeGlobal {
			scope = unix.RT_SCOPE_NOWHERE // matches any
		}
	}
	b.begin(typ, v.flags())
	family := familyOf(r.Dst.Addr())
	if family == unix.AF_UNSPEC {
		b.fail(syscall.EINVAL, "a route without a destination")
	}
	table := r.Table
	if table == 0 {
		table = unix.RT_TABLE_MAIN
	}
	// struct rtmsg (linux/rtnetlink.h), which has 8 bits for the table.
	e := &b.enc
	short := uint8(unix.RT_TABLE_UNSPEC)
	if table < 256 {
		short = uint8(table)
	}
	e.fixed(family, uint8(max(r.Dst.Bits(), 0)), 0, 0, short, protocol, uint8(scope), kind)
	flags := uint32(0)
	if r.OnLink {
		flags = unix.RTNH_F_ONLINK
	}
	e.fixed32(flags)
	if family != unix.AF_UNSPEC {
		r.attributes(e, table)
	}
	b.end()
}

func (r *Route) attributes(e *encoder, table uint32) {
	if r.Dst.Bits() > 0 {
		e.addr(unix.RTA_DST, r.Dst.Addr())
	}
	if r.Gateway.IsValid() {
		e.addr(unix.RTA_GATEWAY, r.Gateway)
	}
	if r.Link != 0 {
		e.u32(unix.RTA_OIF, uint32(r.Link))
	}
	if r.Priority != 0 {
		e.u32(unix.RTA_PRIORITY, uint32(r.Priority))
	}
	if table >= 256 {
		e.u32(unix.RTA_TABLE, table)
	}
	if r.Src.IsValid() {
		e.addr(unix.RTA_PREFSRC, r.Src)
	}
	if r.Expires > 0 {
		e.u32(unix.RTA_EXPIRES, uint32(min(r.Expires, math.MaxInt32)))
	}
	if r.MTU == 0 && r.AdvMSS == 0 {
		return
	}
	metrics := e.nest(unix.RTA_METRICS)
	if r.MTU != 0 {
		e.u32(unix.RTAX_MTU, uint32(r.MTU))
	}
	if r.AdvMSS != 0 {
		e.u32(unix.RTAX_ADVMSS, uint32(r.AdvMSS))
	}
	e.endNest(metrics)
}

// decodeRouteChange decodes a batch's message about a route.
func decodeRouteChange(b []byte) (Object, error) {
	r, _, err := decodeRoute(b)
	if r.Protocol == unix.RTPROT_BOOT {
		r.Protocol = 0
	}
	return r, err
}

// decodeRoute decodes a route. Several next hops are left as the bytes of RTA_MULTIPATH, for
// [nextHops].
func decodeRoute(b []byte) (r Route, hops []byte, err error) {
	if len(b) < unix.SizeofRtMsg {
		return r, nil, errShort
	}
	family, bits := b[0], int(b[1])
	r.Table, r.Protocol, r.Scope = uint32(b[4]), b[5], Scope(b[6])
	if r.Scope == unix.RT_SCOPE_NOWHERE {
		r.Scope = ScopeGlobal
	}
	r.OnLink = binary.NativeEndian.Uint32(b[8:])&unix.RTNH_F_ONLINK != 0
	dst := netip.IPv6Unspecified()
	if family == unix.AF_INET {
		dst = netip.IPv4Unspecified()
	}
	a := attrs{rest: b[unix.SizeofRtMsg:]}
	for a.next() {
		switch a.typ {
		case unix.RTA_DST:
			dst = a.addr()
		case unix.RTA_GATEWAY:
			r.Gateway = a.addr()
		case unix.RTA_OIF:
			r.Link = int(int32(a.u32()))
		case unix.RTA_PRIORITY:
			r.Priority = int(a.u32())
		case unix.RTA_TABLE:
			r.Table = a.u32()
		case unix.RTA_PREFSRC:
			r.Src = a.addr()
		case unix.RTA_METRICS:
			r.metrics(&a)
		case unix.RTA_EXPIRES:
			if seconds := a.u32(); seconds != math.MaxUint32 { // which is for good
				r.Expires = int(min(seconds, math.MaxInt32))
			}
		case unix.RTA_CACHEINFO:
			r.Expires = lifetime(&a)
		case unix.RTA_MULTIPATH:
			hops = a.val
		}
	}
	if r.Table == unix.RT_TABLE_MAIN {
		r.Table = 0
	}
	r.Dst = netip.PrefixFrom(dst, bits)
	if a.err == nil && !r.Dst.IsValid() {
		a.err = errShort
	}
	return r, hops, a.err
}

// lifetime reads rta_expires of struct rta_cacheinfo (linux/rtnetlink.h), in hundredths of a second.
// It's negative from the end of a route's time until the kernel removes it, up to half a minute later.
// Such a route isn't for good.
func lifetime(a *attrs) int {
	if !a.need(12) {
		return 0
	}
	ticks := int32(binary.NativeEndian.Uint32(a.val[8:]))
	if ticks < 0 {
		return 1
	}
	return int((int64(ticks) + userHZ - 1) / userHZ)
}

func (r *Route) metrics(outer *attrs) {
	a := outer.nested()
	for a.next() {
		switch a.typ {
		case unix.RTAX_MTU:
			r.MTU = int(a.u32())
		case unix.RTAX_ADVMSS:
			r.AdvMSS = int(a.u32())
		}
	}
	outer.took(&a)
}

// nextHops yields a route for each struct rtnexthop (linux/rtnetlink.h), and false if a next hop is
// cut short.
func (r Route) nextHops(b []byte, yield func(Route) bool) bool {
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return false
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			return false
		}
		hop := r
		hop.OnLink = b[2]&unix.RTNH_F_ONLINK != 0
		hop.Link = int(int32(binary.NativeEndian.Uint32(b[4:])))
		a := attrs{rest: b[unix.SizeofRtNexthop:n]}
		for a.next() {
			if a.typ == unix.RTA_GATEWAY {
				hop.Gateway = a.addr()
			}
		}
		if a.err != nil {
			return false
		}
		if !yield(hop) {
			return true
		}
		b = b[min((n+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(b)):]
	}
	return true
}

func (r Route) write(w *words) {
	w.word("route")
	if r.Dst.Bits() == 0 {
		w.word("default")
	} else {
		w.word(r.Dst.String())
	}
	if r.Gateway.IsValid() {
		w.word("via", r.Gateway.String())
	}
	if r.Link != 0 {
		w.word("dev", w.link(r.Link))
	}
	if r.Table != 0 {
		w.word("table", strconv.FormatUint(uint64(r.Table), 10))
	}
	if r.Scope != ScopeGlobal {
		w.word("scope", r.Scope.String())
	}
	if r.Src.IsValid() {
		w.word("src", r.Src.String())
	}
	w.number("metric", r.Priority)
	w.number("mtu", r.MTU)
	w.number("advmss", r.AdvMSS)
	w.number("expires", r.Expires)
	if r.OnLink {
		w.word("onlink")
	}
	w.number("proto", int(r.Protocol))
}
