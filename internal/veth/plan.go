// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"net"
	"net/netip"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A plan is all that an attachment will do, decided without I/O from the keys, the attachment, its
// names and its addresses. Running it makes no further decision, and changes nothing in it.
type plan struct {
	endpoint.Link // the container's, with the default routes that isDefaultGateway adds

	keys   *Keys
	attach spec.Attachment
	names  names.Names
	mac    net.HardwareAddr // of the container's link
	mtu    int              // of both links; 0 is the kernel's default

	gateways []netip.Prefix // the bridge's addresses
	subnets  []rtnl.Route   // of the container, that take the place of the kernel's own
	dns      spec.DNS
	announce bool // the addresses to the neighbours
}

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
	phase    endpoint.Phase
}

// newPlan decides. addrs is what IPAM gave.
func newPlan(of premise, addrs *spec.Result) *plan {
	conf := of.keys.conf
	p := &plan{keys: of.keys, attach: of.attach, names: of.names, mac: of.mac, mtu: of.mtu, announce: of.announce || of.mac != nil, dns: endpoint.DNS(conf, addrs)}
	p.Link = endpoint.Link{Name: of.attach.IfName, Index: of.names.Peer, Phase: of.phase, Notify: of.keys.shared, Down: of.keys.down,
		NoLinkLocal: conf.Link.NoLinkLocal}
	if of.keys.dad {
		p.DAD = endpoint.WithDAD
	}
	p.Take(conf, addrs, of.keys.place)
	if p.mac == nil {
		p.mac = names.ContainerMAC(p.Addresses(), of.seed)
	}
	of.side.complete(p)
	return p
}

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

// containerBatch sets up the container's link.
func (p *plan) containerBatch(b *rtnl.Batch) {
	p.Batch(b)
	for _, r := range p.subnets {
		b.Delete(kernelsOwn(r))
		b.Create(r)
	}
}

// rules are the elements that the attachment puts into the ruleset; ok says whether there are any.
func (p *plan) rules() (a nft.Sender, ok bool) {
	a.Owner = p.owner()
	a.Masquerade, a.Outbound = p.keys.masqueraded(p.Addresses()), p.keys.conf.Link.Outbound
	if p.keys.guard && p.Phase != endpoint.Answered {
		a.Guard = &nft.Guard{HostLink: p.names.Link, MAC: p.mac}
	}
	return a, len(a.Masquerade) > 0 || a.Guard != nil
}

func (p *plan) owner() nft.Owner { return p.keys.owner(p.attach) }
