// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A plan is all that an attachment will do, decided without I/O from the network, the attachment, its names
// and its addresses. Running it makes no further decision.
type plan struct {
	network *Network
	attach  Attachment
	names   names.Names
	mac     net.HardwareAddr // of the container's link

	ips      []IP
	routes   []Route        // with the default routes that isDefaultGateway adds
	gateways []netip.Prefix // the bridge's addresses
	dns      DNS
	ptp      bool // there is no bridge: the host end is the gateway
	asks     bool // for addresses, once the link can carry packets
	asked    bool // what a plan that asks has done is done
	announce bool // the addresses to the neighbours
}

// newPlan decides. addrs is what IPAM gave; seed is what a container without addresses derives its MAC from.
func newPlan(n *Network, a Attachment, nm names.Names, addrs *Result, mac net.HardwareAddr, seed string) *plan {
	p := &plan{network: n, attach: a, names: nm, mac: mac, announce: mac != nil, dns: n.dns}
	p.ips = append(p.ips, addrs.IPs...)
	p.routes = append(p.routes, n.routesOf(addrs)...)
	if !n.hasDNS {
		p.dns = addrs.DNS
	}
	if p.mac == nil {
		p.mac = names.ContainerMAC(p.addresses(), seed)
	}
	b := &n.bridge
	for i := range p.ips {
		ip := &p.ips[i]
		ip.Interface = 2
		if b.gateway() && !result.HasGateway(ip) {
			ip.Gateway = ip.Address.Masked().Addr().Next()
		}
	}
	p.gateways = b.gatewaysOf(p.ips)
	if b.isDefaultGateway {
		p.addDefaultRoutes()
	}
	return p
}

// routesOf are the routes that IPAM gave. A result of 0.1.0 or 0.2.0, as the reference's plugins exchange, has them with
// destination and gateway alone, and beside an address of their family.
func (n *Network) routesOf(addrs *Result) (list []Route) {
	if n.version().Form() != specversion.Legacy {
		return addrs.Routes
	}
	for _, r := range addrs.Routes {
		if slices.ContainsFunc(addrs.IPs, func(ip IP) bool { return ip.Address.Addr().Is4() == r.Dst.Addr().Is4() }) {
			list = append(list, Route{Dst: r.Dst, Gateway: r.Gateway})
		}
	}
	return list
}

// gatewaysOf lists the gateways of addresses that the bridge gets, each once. Two that conflict with each other
// can't both be there: forceAddress lets the last one win, and without it checkGateways refuses them.
func (b *bridgeKeys) gatewaysOf(ips []IP) (list []netip.Prefix) {
	if !b.gateway() {
		return nil
	}
	for _, ip := range ips {
		gw := netip.PrefixFrom(ip.Gateway, ip.Address.Bits())
		if !gw.IsValid() || slices.Contains(list, gw) {
			continue
		}
		if b.forceAddress {
			list = slices.DeleteFunc(list, func(other netip.Prefix) bool { return conflict(gw, other) })
		}
		list = append(list, gw)
	}
	return list
}

// checkGateways refuses gateways that conflict with each other, and addresses that the link can't have, before anything is
// touched.
func (p *plan) checkGateways() error {
	if err := p.checkMTU(); err != nil {
		return err
	}
	for i, gw := range p.gateways {
		for _, other := range p.gateways[:i] {
			if conflict(gw, other) {
				return addressConflict(p.network.bridge.name, gw)
			}
		}
	}
	return nil
}

// checkMTU refuses IPv6 on a link that's too small for it.
func (p *plan) checkMTU() error {
	for _, ip := range p.ips {
		if err := p.network.bridge.carries(ip.Address.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// gateway reports whether the bridge gets gateway addresses.
func (b *bridgeKeys) gateway() bool { return b.isGateway || b.isDefaultGateway }

// addDefaultRoutes adds one default route for each family that has none.
func (p *plan) addDefaultRoutes() {
	for _, any := range []netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	} {
		gw := p.gatewayOf(any.Addr().Is4())
		if !gw.IsValid() || p.hasDefaultRoute(any) {
			continue
		}
		p.routes = append(p.routes, Route{Dst: any, Gateway: gw})
	}
}

// hasDefaultRoute reports whether a default route is given. One that names no gateway counts only if the kernel would take
// it for the same as ours: in another table, or of another priority, both can be there.
func (p *plan) hasDefaultRoute(dst netip.Prefix) bool {
	return slices.ContainsFunc(p.routes, func(r Route) bool {
		k := kernelRoute(&r, 0, netip.Addr{})
		return k.Dst == dst && (k.Gateway.IsValid() || (k.Table == 0 || k.Table == rtnl.TableMain) && k.Priority == 0)
	})
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

func (p *plan) hasIPv6() bool {
	for _, ip := range p.ips {
		if ip.Address.Addr().Is6() {
			return true
		}
	}
	return false
}

// hostBatch makes the pair of links and joins the bridge, whose index is given, in one send. The gateway
// addresses go first: that they are there already, as from the second attachment on, is a refusal that the
// runner expects, and the only way to know it that costs neither a dump nor a round trip.
func (p *plan) hostBatch(b *rtnl.Batch, bridge int, container *rtnl.NetNS) {
	p.gatewayBatch(b, bridge)
	p.portBatch(b, bridge, container)
}

func (p *plan) gatewayBatch(b *rtnl.Batch, bridge int) {
	for _, gw := range p.bridgeGateways() {
		b.Create(p.network.bridge.gatewayAddr(bridge, gw))
	}
}

// portBatch is hostBatch without the bridge's addresses.
func (p *plan) portBatch(b *rtnl.Batch, bridge int, container *rtnl.NetNS) {
	keys := &p.network.bridge
	b.Create(rtnl.Veth{
		Link: rtnl.Link{Index: p.names.Index, Name: p.names.Link, MAC: p.names.MAC, MTU: max(keys.mtu, 0), Queues: keys.queues,
			Master: bridge, State: rtnl.Up},
		Peer: rtnl.Link{Index: p.names.Peer, Name: p.attach.IfName, MAC: p.mac, MTU: max(keys.mtu, 0), Queues: keys.queues,
			NetNS: container},
	})
	// The host end needs no address of its own: one would cost its share of every neighbour's multicast. What it's
	// called outside is for people, and for whoever must find out whose it is.
	b.Set(rtnl.Link{Index: p.names.Index, Alias: names.Alias(p.owner()), LinkLocal: rtnl.Off})
	if keys.hairpin || keys.isolated {
		b.Set(rtnl.Port{Link: p.names.Index, Hairpin: rtnl.OnOff(keys.hairpin), Isolated: rtnl.OnOff(keys.isolated)})
	}
	if keys.filtersVLANs() {
		portVLANs(b, p.names.Index, keys.vlan, keys.trunk, keys.keepDefaultVLAN)
	}
}

// gatewayAddr is a gateway on the bridge. Its first containers shouldn't wait until it's found to be unique.
func (b *bridgeKeys) gatewayAddr(link int, gw netip.Prefix) rtnl.Addr {
	return rtnl.Addr{Link: link, Prefix: gw, NoDAD: gw.Addr().Is6() && !b.dad}
}

// bridgeGateways are the addresses of the bridge itself: with a VLAN they belong to a link of that VLAN.
func (p *plan) bridgeGateways() []netip.Prefix {
	if p.network.bridge.vlan != 0 {
		return nil
	}
	return p.gateways
}

// containerBatch gives the container's link its addresses, brings it up and adds the routes, in that order:
// the kernel takes no route over a link that is down.
func (p *plan) containerBatch(b *rtnl.Batch) {
	link := p.names.Peer
	for _, ip := range p.ips {
		b.Create(rtnl.Addr{Link: link, Prefix: ip.Address, NoDAD: ip.Address.Addr().Is6() && !p.network.bridge.dad})
	}
	p.up(b, link)
	if p.ptp {
		p.gatewayRoutes(b)
	}
	for i := range p.routes {
		b.Prepend(kernelRoute(&p.routes[i], link, p.gatewayOf(p.routes[i].Dst.Addr().Is4())))
	}
	if p.ptp {
		p.subnetRoutes(b)
	}
}

// up brings the container's link up. With arp_notify the kernel announces the IPv4 addresses of a link that comes up, by
// a broadcast to each port of the bridge. So the setting, which is for later, takes effect after the link is up;
// where the neighbours must be told, [plan.announcement] does it when the port forwards.
func (p *plan) up(b *rtnl.Batch, link int) {
	if p.network.bridge.containerDown {
		return
	}
	if p.network.bridge.noLinkLocal && !p.hasIPv6() {
		b.Set(rtnl.Link{Index: link, LinkLocal: rtnl.Off})
	}
	up := rtnl.Link{Index: link, State: rtnl.Up}
	if len(p.ips) > 0 && !p.ptp { // nobody else hears it on a link of two
		up.ARPNotify = rtnl.On
	}
	b.Set(up)
}

// kernelRoute is the route as the kernel takes it; gw is used where the route names no gateway, unless its scope
// says that the destination is on the link. A scope of IPv6 says nothing.
func kernelRoute(r *Route, link int, gw netip.Addr) rtnl.Route {
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
	keys := &p.network.bridge
	a.Owner = p.owner()
	if keys.ipMasq && len(p.ips) > 0 {
		a.Masquerade = p.addresses()
	}
	if keys.macSpoofCheck && !p.asked {
		a.Guard = &nft.Guard{HostLink: p.names.Link, MAC: p.mac}
	}
	return a, a.Masquerade != nil || a.Guard != nil
}

func (p *plan) owner() nft.Owner {
	return p.network.rulesOwner(names.Lessee(p.attach))
}

// setting is a file below /proc/sys and what it must hold.
type setting struct {
	name, value string
	must        bool // its failure is an error
	late        bool // it's set once the link is up and its addresses are in use
}

// sysctls are the container's, set while its link is there and still down.
//
// Duplicate address detection of the link's own IPv6 address would keep it tentative for a second or two, which matters
// where IPv6 is used. Elsewhere it's left to the kernel: without it the first multicasts of that address are sent while
// the link comes up, to each port of the bridge, which took an attach half a millisecond at a hundred ports.
func (p *plan) sysctls() []setting {
	link, keys := p.attach.IfName, &p.network.bridge
	var list []setting
	switch {
	case keys.dad:
		list = append(list, setting{name: sysctl.IPv6(link, "enhanced_dad"), value: "1"}, setting{name: sysctl.IPv6(link, "accept_dad"), value: "1"})
	case p.asks || p.hasIPv6():
		list = append(list, setting{name: sysctl.IPv6(link, "accept_dad"), value: "0"})
	}
	if p.asked && p.network.bridge.noLinkLocal && p.hasIPv6() {
		list = append(list, setting{name: sysctl.IPv6(link, "addr_gen_mode"), value: "0"}) // which makes the address at once
	}
	if p.hasIPv6() {
		list = append(list,
			setting{name: sysctl.IPv6("lo", "disable_ipv6"), value: "0", must: true},
			setting{name: sysctl.IPv6(link, "disable_ipv6"), value: "0", must: true},
			setting{name: sysctl.IPv6(link, "keep_addr_on_down"), value: "1", must: true},
			// As arp_notify, which says when the MAC changes: the host was told of the MAC that the link has now.
			setting{name: sysctl.IPv6(link, "ndisc_notify"), value: "1", late: true})
	}
	return list
}

// portVLANs makes a port a member of a VLAN, untagged, and of a trunk's VLANs, tagged.
func portVLANs(b *rtnl.Batch, link, vlan int, trunk []vlanRange, keepDefault bool) {
	if vlan == 0 && len(trunk) == 0 {
		return
	}
	if !keepDefault {
		b.Delete(rtnl.PortVLAN{Link: link, VID: 1, Last: maxVLAN})
	}
	for _, r := range trunk {
		v := rtnl.PortVLAN{Link: link, VID: r.first}
		if r.last > r.first {
			v.Last = r.last
		}
		b.Create(v)
	}
	native := vlan
	if native == 0 {
		native = 1
	}
	b.Create(rtnl.PortVLAN{Link: link, VID: native, PVID: true, Untagged: true})
}
