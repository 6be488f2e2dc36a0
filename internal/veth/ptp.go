// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// ptpSide is the topology without a bridge: the host end has the gateway's address, and the host
// routes.
var ptpSide = topology{
	problem: ptpProblem, admit: ptpAdmit,
	complete: ptpComplete, refuse: ptpRefuse, forwards: (*plan).HasFamily,
	hostSide: ptpHostSide, answered: ptpAnswered, interfaces: ptpInterfaces,
	look: ptpLook, status: ptpStatus, neighbourLink: ptpNeighbourLink, tell: ptpTell,
}

// ReadPtP reads the keys of the plugin ptp. bridge's own mean nothing to it.
func ReadPtP(n *netconf.Network) verbs.Plugin {
	return &Keys{conf: n, routed: true, place: 1, speaker: "ptp"}
}

func ptpProblem(n *netconf.Network) error {
	wrong := n.Wrong(netconf.OfLink | netconf.OfMasquerade)
	switch {
	case wrong != nil:
		return wrong
	case !n.HasAddresses():
		return fault.Expected("ipam.type", "no plugin name provided", "an IPAM plugin, which ptp needs")
	case n.IPAM.Plugin == netconf.HostLocal:
		if err := checkRanges(n); err != nil {
			return err
		}
	}
	return outboundProblem(n)
}

// ptpAdmit takes every attachment. The plugin has no use for an explicit MAC.
func ptpAdmit(*netconf.Network, spec.Attachment) (net.HardwareAddr, error) { return nil, nil }

func ptpComplete(p *plan) {
	for i, ip := range p.IPs {
		if gw := ip.Gateway; gw.IsValid() && !slices.ContainsFunc(p.IPs[:i], func(other spec.IP) bool { return other.Gateway == gw }) {
			p.OnLink = append(p.OnLink, gatewayRoute(gw, ip.Address.Addr(), p.names.Peer))
		}
	}
	for i, ip := range p.IPs {
		subnet := ip.Address.Masked()
		again := slices.ContainsFunc(p.IPs[:i], func(other spec.IP) bool { return other.Address.Masked() == subnet })
		if !again && !ip.Address.IsSingleIP() {
			p.subnets = append(p.subnets, rtnl.Route{Dst: subnet, Gateway: ip.Gateway, Link: p.names.Peer, Src: ip.Address.Addr()})
		}
	}
}

// gatewayRoute leads the container to a gateway, which needn't be in the subnet.
func gatewayRoute(gw, from netip.Addr, link int) rtnl.Route {
	r := rtnl.Route{Dst: result.Single(gw), Link: link, Src: from}
	if gw.Is4() {
		r.Scope = rtnl.ScopeLink
	}
	return r
}

// kernelsOwn is the kernel's own route to a subnet, which says that it's on the link. One by the
// gateway takes its place, and comes last: until then the gateways of other routes may be looked
// for there.
func kernelsOwn(r rtnl.Route) rtnl.Route {
	return rtnl.Route{Dst: r.Dst, Link: r.Link, Protocol: unix.RTPROT_KERNEL}
}

// ptpRefuse finds addresses that no route could lead to.
func ptpRefuse(p *plan) error {
	if err := p.CheckMTU(p.mtu); err != nil {
		return err
	}
	for _, ip := range p.IPs {
		addr := ip.Address.Addr()
		switch {
		case !result.Specified(ip.Gateway).IsValid():
			return fault.Key("ipam", "ptp needs a gateway, which IPAM didn't give for "+ip.Address.String())
		case ip.Gateway.Is4() != addr.Is4():
			return fault.Key("ipam", "the gateway "+ip.Gateway.String()+" isn't of the family of "+ip.Address.String())
		case ip.Gateway == addr:
			return fault.Key("ipam", "the container's address "+addr.String()+" is its gateway's")
		}
	}
	return nil
}

// ptpHostSide makes the pair of links, the gateway's addresses and the routes to the container: one
// send. Where the addresses come later it's called again.
func ptpHostSide(at *attaching) error {
	if err := at.forwarding(); err != nil {
		return err
	}
	at.enter(calls.Links)
	var b rtnl.Batch
	at.plan.ptpHostBatch(&b, at.container)
	made := at.plan.Phase == endpoint.Answered
	if !made {
		at.undo.Push("link", at.removeLink)
	}
	err := at.conn.Do(&b)
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return fault.Wrap("set up the host's link", err)
	}
	for _, e := range refused {
		switch {
		case e.Step == 0 && !made:
			return at.linkRefused(e)
		case e.Step == 1 && !made: // what the link is called outside
		case e.Step >= at.plan.firstHostRoute() && errors.Is(e, fs.ErrExist):
			return &spec.Error{Code: spec.CodeAttached, Key: "ipam", Err: e,
				Msg: "failed to add route on host: the host has a route to the container's address already (" + e.Error() + ")"}
		default:
			return fault.Wrap("set up the host's link", e)
		}
	}
	if !made {
		at.tameHostEnd()
	}
	at.tellHost(at.names.Index)
	return nil
}

// ptpAnswered makes the host's part first, as a whole attachment does. Where the container's namespace
// is the host's, the gateways come last.
func ptpAnswered(at *attaching) []func() error {
	hostSide := func() error { return ptpHostSide(at) }
	if at.sharesNetNS() {
		return []func() error{at.containerSide, hostSide, at.rules}
	}
	return []func() error{hostSide, at.rules, at.containerSide}
}

// ptpHostBatch makes the pair of links, and on the host's end the gateways' addresses and a route to
// each address of the container. The many links of a host may have one gateway: its address has no
// subnet, so no two routes meet.
func (p *plan) ptpHostBatch(b *rtnl.Batch, container *rtnl.NetNS) {
	link := p.names.Index
	if p.Phase != endpoint.Answered {
		b.Create(p.veth(0, container))
		b.Set(rtnl.Link{Index: link, Alias: names.Alias(p.owner())})
		b.Set(p.hostEndUp())
	}
	for _, gw := range p.hostGateways() {
		b.Create(rtnl.Addr{Link: link, Prefix: result.Single(gw), NoDAD: gw.Is6()})
	}
	for _, ip := range p.IPs {
		r := rtnl.Route{Dst: result.Single(ip.Address.Addr()), Link: link}
		if r.Dst.Addr().Is4() {
			r.Scope = rtnl.ScopeHost
		}
		b.Create(r)
	}
}

// hostGateways are the addresses of the host's end, each once.
func (p *plan) hostGateways() (list []netip.Addr) {
	for _, ip := range p.IPs {
		if !slices.Contains(list, ip.Gateway) {
			list = append(list, ip.Gateway)
		}
	}
	return list
}

// firstHostRoute is the step of ptpHostBatch at which its routes begin.
func (p *plan) firstHostRoute() int {
	if p.Phase == endpoint.Answered {
		return len(p.hostGateways())
	}
	return 3 + len(p.hostGateways())
}

// tameHostEnd makes IPv6 settings while the container can't send yet, since its end is down. Its
// router advertisements mustn't configure the host. And the host's own link-local address must be
// usable at once: what the host forwards to the container waits for it (ndisc_send_ns,
// net/ipv6/ndisc.c).
func (at *attaching) tameHostEnd() {
	p, link := at.plan, at.plan.names.Link
	_ = sysctl.Write(sysctl.IPv6(link, "accept_ra"), "0")
	if p.Phase == endpoint.Asking || p.HasIPv6() {
		_ = sysctl.Write(sysctl.IPv6(link, "accept_dad"), "0")
	}
}

func ptpInterfaces(at *attaching) ([]spec.Interface, error) {
	p := at.plan
	return []spec.Interface{
		{Name: p.names.Link, MAC: p.names.MAC.String()},
		{Name: at.attachment.IfName, MAC: p.mac.String(), Sandbox: at.attachment.NetNS},
	}, nil
}

func ptpStatus(*netconf.Network) error { return nil }

func ptpNeighbourLink(*netconf.Network) string { return "" }

func ptpTell(n *netconf.Network, f *facts.Plugin) {
	f.Outbound = n.Link.Outbound
	f.Gateway, f.Masquerade, f.Masquerade6 = true, n.Link.IPMasq, n.Link.Masquerades(false)
}

func ptpLook(c *checking) error {
	return inOrder(c.checkContainer, c.findHostEnd, c.checkEnd, c.checkHostRoutes, c.checkRules)
}

// checkHostRoutes finds the gateways on the host's end, and the host's routes to the addresses. An
// attachment that the reference made has them too.
func (c *checking) checkHostRoutes() error {
	for _, ip := range c.prev.IPs {
		if !ip.Gateway.IsValid() {
			continue
		}
		gw := result.Single(ip.Gateway)
		on, err := c.host.HasAddr(c.hostEnd.Index, gw)
		if err != nil {
			return fault.Wrap("list the host end's addresses", err)
		}
		if !on {
			return fault.Wrong("gateway " + gw.String() + " is not on " + strconv.Quote(c.hostEnd.Name))
		}
		if err := c.checkHostRoute(result.Single(ip.Address.Addr())); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) checkHostRoute(dst netip.Prefix) error {
	for r, err := range c.host.Routes(rtnl.RouteFilter{Family: result.Family(dst.Addr()), Link: c.hostEnd.Index}) {
		if err != nil {
			return fault.Wrap("list the host's routes", err)
		}
		if r.Dst == dst {
			return nil
		}
	}
	return fault.Wrong("the host has no route to " + dst.String() + " by " + strconv.Quote(c.hostEnd.Name))
}
