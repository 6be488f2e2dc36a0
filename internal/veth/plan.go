// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"net"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A plan is all that an attachment will do, decided without I/O from the keys, the attachment, its
// names and its addresses. Running it makes no further decision, and changes nothing in it.
type plan struct {
	keys   *Keys
	attach spec.Attachment
	names  names.Names
	mac    net.HardwareAddr // of the container's link
	mtu    int              // of both links; 0 is the kernel's default
	phase  phase

	ips      []spec.IP
	routes   []spec.Route   // with the default routes that isDefaultGateway adds
	gateways []netip.Prefix // the bridge's addresses
	onLink   []rtnl.Route   // of the container, that its other routes need
	subnets  []rtnl.Route   // that take the place of the kernel's own
	dns      spec.DNS
	announce bool // the addresses to the neighbours
}

// A phase is the part of an attachment that a plan is of.
type phase uint8

const (
	whole    phase = iota // the addresses are known before there's a link
	asking                // the link, by which an IPAM plugin can be asked
	answered              // what is left to do once it has answered
)

// A premise is what a plan is decided from, beside the addresses.
type premise struct {
	keys     *Keys
	side     *topology // the keys'
	attach   spec.Attachment
	names    names.Names
	mac      net.HardwareAddr // explicit, or nil
	mtu      int
	seed     string // what a container without addresses derives its MAC from
	announce bool   // somebody may know the addresses by another MAC, whatever this one is
	phase    phase
}

// newPlan decides. addrs is what IPAM gave.
func newPlan(of premise, addrs *spec.Result) *plan {
	conf := of.keys.conf
	p := &plan{keys: of.keys, attach: of.attach, names: of.names, mac: of.mac, mtu: of.mtu, phase: of.phase, announce: of.announce || of.mac != nil, dns: conf.DNS}
	p.ips = append(p.ips, addrs.IPs...)
	for i := range p.ips {
		p.ips[i].Interface = of.keys.place
	}
	p.routes = append(p.routes, routesOf(conf, addrs)...)
	if !conf.HasDNS {
		p.dns = addrs.DNS
	}
	if p.mac == nil {
		p.mac = names.ContainerMAC(p.addresses(), of.seed)
	}
	of.side.complete(p)
	return p
}

// routesOf are the routes that IPAM gave. A result of 0.1.0 or 0.2.0, as the reference's plugins
// exchange, has them with destination and gateway alone, and beside an address of their family.
func routesOf(n *netconf.Network, addrs *spec.Result) (list []spec.Route) {
	if n.Version().Form() != specversion.Legacy {
		return addrs.Routes
	}
	for _, r := range addrs.Routes {
		if slices.ContainsFunc(addrs.IPs, func(ip spec.IP) bool { return ip.Address.Addr().Is4() == r.Dst.Addr().Is4() }) {
			list = append(list, spec.Route{Dst: r.Dst, Gateway: r.Gateway})
		}
	}
	return list
}

// refuseMTU refuses IPv6 on a link that's too small for it.
func (p *plan) refuseMTU() error {
	for _, ip := range p.ips {
		if err := carries(p.mtu, ip.Address.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// gatewayOf returns the first gateway of a family among the addresses, or the zero Addr.
func (p *plan) gatewayOf(four bool) netip.Addr {
	for _, ip := range p.ips {
		if result.Specified(ip.Gateway).IsValid() && ip.Gateway.Is4() == four {
			return ip.Gateway
		}
	}
	return netip.Addr{}
}

func (p *plan) addresses() []netip.Prefix {
	list := make([]netip.Prefix, len(p.ips))
	for i, ip := range p.ips {
		list[i] = ip.Address
	}
	return list
}

func (p *plan) hasFamily(four bool) bool {
	for i := range p.ips {
		if p.ips[i].Address.Addr().Is4() == four {
			return true
		}
	}
	return false
}

func (p *plan) hasIPv6() bool { return p.hasFamily(false) }

// veth is the pair of links, both down. Its host end joins master, if that's a link.
func (p *plan) veth(master int, container *rtnl.NetNS) rtnl.Veth {
	link := &p.keys.conf.Link
	return rtnl.Veth{
		Link: rtnl.Link{Index: p.names.Index, Name: p.names.Link, MAC: p.names.MAC, MTU: p.mtu, Queues: link.Queues,
			Master: master},
		Peer: rtnl.Link{Index: p.names.Peer, Name: p.attach.IfName, MAC: p.mac, MTU: p.mtu, Queues: link.Queues,
			NetNS: container},
	}
}

// hostEndUp comes last of the host end's settings. For each setting of a link that is up already the
// kernel walks all IPv6 routes of the host, of which each bridge has some (addrconf_notify and
// rt6_sync_down_dev, net/ipv6).
func (p *plan) hostEndUp() rtnl.Link { return rtnl.Link{Index: p.names.Index, State: rtnl.Up} }

// containerBatch gives the container's link its addresses, brings it up and adds the routes, in
// that order: the kernel takes no route over a link that is down.
func (p *plan) containerBatch(b *rtnl.Batch) {
	link := p.names.Peer
	for _, ip := range p.ips {
		b.Create(rtnl.Addr{Link: link, Prefix: ip.Address, NoDAD: ip.Address.Addr().Is6() && !p.keys.dad})
	}
	p.up(b, link)
	for _, r := range p.onLink {
		b.Create(r)
	}
	for i := range p.routes {
		b.Prepend(kernelRoute(&p.routes[i], link, p.gatewayOf(p.routes[i].Dst.Addr().Is4())))
	}
	for _, r := range p.subnets {
		b.Delete(kernelsOwn(r))
		b.Create(r)
	}
}

// up brings the container's link up. With arp_notify the kernel announces the IPv4 addresses of a
// link that comes up, by a broadcast to each port of the bridge. So the setting, which is for
// later, takes effect after the link is up; where the neighbours must be told, [plan.announcement]
// does it when the port forwards.
func (p *plan) up(b *rtnl.Batch, link int) {
	if p.keys.down {
		return
	}
	if p.keys.conf.Link.NoLinkLocal && !p.hasIPv6() {
		b.Set(rtnl.Link{Index: link, LinkLocal: rtnl.Off})
	}
	up := rtnl.Link{Index: link, State: rtnl.Up}
	if len(p.ips) > 0 && p.keys.shared {
		up.ARPNotify = rtnl.On
	}
	b.Set(up)
}

// kernelRoute is the route as the kernel takes it; gw is used where the route names no gateway,
// unless its scope says that the destination is on the link. A scope of IPv6 says nothing.
func kernelRoute(r *spec.Route, link int, gw netip.Addr) rtnl.Route {
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

// rules are the elements that the attachment puts into the ruleset; ok says whether there are any.
func (p *plan) rules() (a nft.Sender, ok bool) {
	a.Owner = p.owner()
	if p.keys.conf.Link.IPMasq && len(p.ips) > 0 {
		a.Masquerade = p.addresses()
	}
	if p.keys.guard && p.phase != answered {
		a.Guard = &nft.Guard{HostLink: p.names.Link, MAC: p.mac}
	}
	return a, a.Masquerade != nil || a.Guard != nil
}

func (p *plan) owner() nft.Owner { return p.keys.owner(p.attach) }

// setting is a file below /proc/sys and what it must hold.
type setting struct {
	name, value string
	must        bool // its failure is an error
	late        bool // it's set once the link is up and its addresses are in use
}

// sysctls are the container's, set while its link is there and still down.
//
// Duplicate address detection of the link's own IPv6 address would keep it tentative for a second
// or two, which matters where IPv6 is used. Elsewhere it's left to the kernel: without it the first
// multicasts of that address are sent while the link comes up, to each port of the bridge, which
// took an attach half a millisecond at a hundred ports.
func (p *plan) sysctls() []setting {
	link := p.attach.IfName
	var list []setting
	switch {
	case p.keys.dad:
		list = append(list, setting{name: sysctl.IPv6(link, "enhanced_dad"), value: "1"}, setting{name: sysctl.IPv6(link, "accept_dad"), value: "1"})
	case p.phase == asking || p.hasIPv6():
		list = append(list, setting{name: sysctl.IPv6(link, "accept_dad"), value: "0"})
	}
	if p.phase == answered && p.keys.conf.Link.NoLinkLocal && p.hasIPv6() {
		list = append(list, setting{name: sysctl.IPv6(link, "addr_gen_mode"), value: "0"}) // which makes the address at once
	}
	if p.hasIPv6() {
		list = append(list,
			setting{name: sysctl.IPv6("lo", "disable_ipv6"), value: "0", must: true},
			setting{name: sysctl.IPv6(link, "disable_ipv6"), value: "0", must: true},
			setting{name: sysctl.IPv6(link, "keep_addr_on_down"), value: "1", must: true},
			// As arp_notify, which says when the MAC changes: the host was told of the MAC that the
			// link has now.
			setting{name: sysctl.IPv6(link, "ndisc_notify"), value: "1", late: true})
	}
	return list
}
