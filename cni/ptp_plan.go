// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// pointToPoint makes it the plan of an attachment without a bridge, whose links are the result's first two.
func (p *plan) pointToPoint() {
	p.ptp = true
	for i := range p.ips {
		p.ips[i].Interface = 1
	}
}

// checkPtP refuses addresses that no route could lead to, before a link is made.
func (p *plan) checkPtP() error {
	if err := p.checkMTU(); err != nil {
		return err
	}
	for _, ip := range p.ips {
		addr := ip.Address.Addr()
		switch {
		case !result.Specified(ip.Gateway).IsValid():
			return invalidKey("ipam", "ptp needs a gateway, which IPAM didn't give for "+ip.Address.String())
		case ip.Gateway.Is4() != addr.Is4():
			return invalidKey("ipam", "the gateway "+ip.Gateway.String()+" isn't of the family of "+ip.Address.String())
		case ip.Gateway == addr:
			return invalidKey("ipam", "the container's address "+addr.String()+" is its gateway's")
		}
	}
	return nil
}

func (p *plan) hasFamily(four bool) bool {
	return slices.ContainsFunc(p.ips, func(ip IP) bool { return ip.Address.Addr().Is4() == four })
}

// hostGateways are the addresses of the host's end, each once.
func (p *plan) hostGateways() (list []netip.Addr) {
	for _, ip := range p.ips {
		if !slices.Contains(list, ip.Gateway) {
			list = append(list, ip.Gateway)
		}
	}
	return list
}

// ptpHostBatch makes the pair of links, and on the host's end the gateways' addresses and a route to each address
// of the container. The many links of a host may have one gateway: its address has no subnet, so no two routes meet.
func (p *plan) ptpHostBatch(b *rtnl.Batch, container *rtnl.NetNS) {
	if !p.asked {
		p.ptpLinkBatch(b, container)
	}
	link := p.names.Index
	for _, gw := range p.hostGateways() {
		b.Create(rtnl.Addr{Link: link, Prefix: result.Single(gw), NoDAD: gw.Is6()})
	}
	for _, ip := range p.ips {
		r := rtnl.Route{Dst: result.Single(ip.Address.Addr()), Link: link}
		if r.Dst.Addr().Is4() {
			r.Scope = rtnl.ScopeHost
		}
		b.Create(r)
	}
}

func (p *plan) ptpLinkBatch(b *rtnl.Batch, container *rtnl.NetNS) {
	keys, link := &p.network.bridge, p.names.Index
	b.Create(rtnl.Veth{
		Link: rtnl.Link{Index: link, Name: p.names.Link, MAC: p.names.MAC, MTU: max(keys.mtu, 0), Queues: keys.queues, State: rtnl.Up},
		Peer: rtnl.Link{Index: p.names.Peer, Name: p.attach.IfName, MAC: p.mac, MTU: max(keys.mtu, 0), Queues: keys.queues,
			NetNS: container},
	})
	b.Set(rtnl.Link{Index: link, Alias: names.Alias(p.owner())})
}

// firstHostRoute is the step of ptpHostBatch at which its routes begin.
func (p *plan) firstHostRoute() int {
	if p.asked {
		return len(p.hostGateways())
	}
	return 2 + len(p.hostGateways())
}

// gatewayRoutes lead the container to its gateways, which needn't be in the subnet.
func (p *plan) gatewayRoutes(b *rtnl.Batch) {
	for i, ip := range p.ips {
		if !slices.ContainsFunc(p.ips[:i], func(other IP) bool { return other.Gateway == ip.Gateway }) {
			r := rtnl.Route{Dst: result.Single(ip.Gateway), Link: p.names.Peer, Src: ip.Address.Addr()}
			if ip.Gateway.Is4() {
				r.Scope = rtnl.ScopeLink
			}
			b.Create(r)
		}
	}
}

// subnetRoutes lead to the rest of the subnet by the gateway, in place of the kernel's own route, which says that
// it's on the link. They come last: until then the gateways of other routes may be looked for there.
func (p *plan) subnetRoutes(b *rtnl.Batch) {
	link := p.names.Peer
	for i, ip := range p.ips {
		subnet := ip.Address.Masked()
		again := slices.ContainsFunc(p.ips[:i], func(other IP) bool { return other.Address.Masked() == subnet })
		if again || ip.Address.IsSingleIP() {
			continue
		}
		b.Delete(rtnl.Route{Dst: subnet, Link: link, Protocol: unix.RTPROT_KERNEL})
		b.Create(rtnl.Route{Dst: subnet, Gateway: ip.Gateway, Link: link, Src: ip.Address.Addr()})
	}
}
