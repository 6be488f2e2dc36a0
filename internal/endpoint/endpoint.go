// SPDX-License-Identifier: Apache-2.0

// Package endpoint configures a container's link, and checks it, whatever has made the link.
//
// What the link gets is decided as a [Link], without I/O. [Inside] is the way to it.
package endpoint

import (
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A Link is all that a container's link gets.
type Link struct {
	Name  string // in the container
	Index int
	Phase Phase

	IPs    []spec.IP
	Routes []spec.Route
	OnLink []rtnl.Route // that the other routes need

	Notify      bool // the kernel is to announce the addresses when the link's MAC changes
	AtOnce      bool // and when they come into use
	DAD         DAD
	Down        bool // the link stays down
	NoLinkLocal bool // without IPv6 addresses the link gets none of its own
	NoCarrier   bool // there's none until a program comes, so nobody waits for one
}

// DAD says whether IPv6 addresses are looked for duplicates of.
type DAD uint8

// Ways of duplicate address detection.
const (
	WithoutDAD DAD = iota
	WithDAD
	AsItIs // as the container's own settings say
)

// A Phase is the part of an attachment that a Link is of.
type Phase uint8

// The phases of an attachment.
const (
	Whole    Phase = iota // the addresses are known before there's a link
	Asking                // the link, by which an IPAM plugin can be asked
	Answered              // what is left to do once it has answered
)

// Take takes the addresses and routes that IPAM gave. place is the link's among a result's
// interfaces.
func (l *Link) Take(n *netconf.Network, given *spec.Result, place int) {
	l.IPs = append(l.IPs, given.IPs...)
	for i := range l.IPs {
		l.IPs[i].Interface = place
	}
	l.Routes = append(l.Routes, routesOf(n, given)...)
}

// routesOf are the routes that IPAM gave. A result of 0.1.0 or 0.2.0, as the reference's plugins
// exchange, has them with destination and gateway alone, and beside an address of their family.
func routesOf(n *netconf.Network, given *spec.Result) (list []spec.Route) {
	if n.Version().Form() != specversion.Legacy {
		return given.Routes
	}
	for _, r := range given.Routes {
		if slices.ContainsFunc(given.IPs, func(ip spec.IP) bool { return ip.Address.Addr().Is4() == r.Dst.Addr().Is4() }) {
			list = append(list, spec.Route{Dst: r.Dst, Gateway: r.Gateway})
		}
	}
	return list
}

// DNS is the network's own, or what IPAM gave.
func DNS(n *netconf.Network, given *spec.Result) spec.DNS {
	if n.HasDNS {
		return n.DNS
	}
	return given.DNS
}

// MinIPv6MTU is IPV6_MIN_MTU (linux/ipv6.h; RFC 8200, 5): of a link with less the kernel takes IPv6
// away for good.
const MinIPv6MTU = 1280

// CheckMTU refuses an address that a link of an MTU can't have. 0 and less are no MTU of its own.
func CheckMTU(mtu int, addr netip.Addr) error {
	if addr.Is4() || mtu <= 0 || mtu >= MinIPv6MTU {
		return nil
	}
	return fault.Key("mtu", `"mtu" is `+strconv.Itoa(mtu)+", and IPv6 needs "+strconv.Itoa(MinIPv6MTU))
}

// CheckMTU refuses IPv6 on a link that's too small for it.
func (l *Link) CheckMTU(mtu int) error {
	for _, ip := range l.IPs {
		if err := CheckMTU(mtu, ip.Address.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// GatewayOf returns the first gateway of a family among the addresses, or the zero Addr.
func (l *Link) GatewayOf(four bool) netip.Addr {
	for _, ip := range l.IPs {
		if result.Specified(ip.Gateway).IsValid() && ip.Gateway.Is4() == four {
			return ip.Gateway
		}
	}
	return netip.Addr{}
}

// Addresses are the link's, with their subnets' lengths.
func (l *Link) Addresses() []netip.Prefix {
	list := make([]netip.Prefix, len(l.IPs))
	for i, ip := range l.IPs {
		list[i] = ip.Address
	}
	return list
}

// HasFamily reports whether an address is of IPv4, or else of IPv6.
func (l *Link) HasFamily(four bool) bool {
	for i := range l.IPs {
		if l.IPs[i].Address.Addr().Is4() == four {
			return true
		}
	}
	return false
}

// HasIPv6 reports whether an address is of IPv6.
func (l *Link) HasIPv6() bool { return l.HasFamily(false) }

// Batch gives the link its addresses, brings it up and adds the routes, in that order: the kernel
// takes no route over a link that is down.
func (l *Link) Batch(b *rtnl.Batch) {
	for _, ip := range l.IPs {
		b.Create(rtnl.Addr{Link: l.Index, Prefix: ip.Address, NoDAD: ip.Address.Addr().Is6() && l.DAD == WithoutDAD})
	}
	l.up(b)
	for _, r := range l.OnLink {
		b.Create(r)
	}
	for i := range l.Routes {
		b.Prepend(Route(&l.Routes[i], l.Index, l.GatewayOf(l.Routes[i].Dst.Addr().Is4())))
	}
}

// up brings the link up. With arp_notify the kernel announces the IPv4 addresses of a link that
// comes up, by a broadcast to each port of a bridge. So a setting that is for later takes effect
// after the link is up: where the neighbours must be told, it's when the port forwards.
func (l *Link) up(b *rtnl.Batch) {
	if l.Down {
		return
	}
	if l.NoLinkLocal && !l.HasIPv6() {
		b.Set(rtnl.Link{Index: l.Index, LinkLocal: rtnl.Off})
	}
	up := rtnl.Link{Index: l.Index, State: rtnl.Up}
	if len(l.IPs) > 0 && l.Notify {
		up.ARPNotify = rtnl.On
		if l.AtOnce {
			b.Set(rtnl.Link{Index: l.Index, ARPNotify: rtnl.On})
		}
	}
	b.Set(up)
}

// Route is the route as the kernel takes it; gw is used where the route names no gateway, unless
// its scope says that the destination is on the link. A scope of IPv6 says nothing.
func Route(r *spec.Route, link int, gw netip.Addr) rtnl.Route {
	if r.Scope != nil && *r.Scope >= int(rtnl.ScopeLink) && r.Dst.Addr().Is4() {
		gw = netip.Addr{}
	}
	k := rtnl.Route{
		Dst: r.Dst.Masked(), Gateway: result.Specified(result.GatewayOr(r, gw)), Link: link,
		MTU: r.MTU, AdvMSS: r.AdvMSS, Priority: r.Priority,
	}
	if r.Table != nil {
		k.Table = uint32(*r.Table)
	}
	if r.Scope != nil {
		k.Scope = rtnl.Scope(*r.Scope)
	}
	return k
}
