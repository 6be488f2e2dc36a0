// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/rtnl"
)

// The plugin ptp attaches a container by a pair of links of its own, without a bridge: the host's end has the
// gateway's address, and the host routes. What an attachment is besides, it shares with bridge.

// pointToPoint is the network as ptp reads it: of the keys that bridge knows it has these alone.
func (n *Network) pointToPoint() (*Network, error) {
	p := *n
	p.bridge = bridgeKeys{mtu: n.bridge.mtu, queues: n.bridge.queues, ipMasq: n.bridge.ipMasq, ipMasqBackend: n.bridge.ipMasqBackend,
		noLinkLocal: n.bridge.noLinkLocal}
	wrong := n.wrong(ofLink | ofMasquerade)
	switch {
	case wrong != nil:
		return &p, wrong
	case !n.hasAddresses():
		return &p, fault.Expected("ipam.type", "no plugin name provided", "an IPAM plugin, which ptp needs")
	case n.ipam.plugin == hostLocal:
		return &p, n.checkLinkRanges()
	}
	return &p, nil
}

func attachPtP(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	if err := n.checkCall(a); err != nil {
		return nil, err
	}
	p, err := n.pointToPoint()
	if err != nil {
		return nil, err
	}
	return p.attach(ctx, a, nil, (*attaching).toHost)
}

// toHost makes an attachment to the host itself.
func (at *attaching) toHost(ctx context.Context) (*Result, error) {
	if at.delegate != nil || at.sharesNetNS() {
		return at.toHostAsking(ctx)
	}
	if err := at.decide(ctx); err != nil {
		return nil, err
	}
	p := at.plan
	p.pointToPoint()
	if err := inOrder(p.checkPtP, at.hostForwarding, at.ptpHostSide, at.unlock, at.rules, at.containerSide, at.portUp, at.awaitIPv6, at.announce); err != nil {
		return nil, err
	}
	return at.ptpResult(), nil
}

func (at *attaching) ptpResult() *Result {
	p := at.plan
	return &Result{
		CNIVersion: at.network.cniVersion,
		Interfaces: []Interface{
			{Name: p.names.Link, MAC: p.names.MAC.String()},
			{Name: at.attachment.IfName, MAC: p.mac.String(), Sandbox: at.attachment.NetNS},
		},
		IPs: p.ips, Routes: p.routes, DNS: p.dns,
	}
}

// hostForwarding turns on forwarding for the families of the addresses.
func (at *attaching) hostForwarding() error {
	for _, four := range []bool{true, false} {
		if at.plan.hasFamily(four) {
			if err := sysctl.Forward(at.conn, four); err != nil {
				return err
			}
		}
	}
	return nil
}

// ptpHostSide makes the pair of links, the gateway's addresses and the routes to the container: one send. Where the
// addresses come later it's called again.
func (at *attaching) ptpHostSide() error {
	at.enter(calls.Links)
	var b rtnl.Batch
	at.plan.ptpHostBatch(&b, at.container)
	if !at.plan.asked {
		at.undo.Push("link", func() error { return at.removeLink() })
	}
	err := at.conn.Do(&b)
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return failed("set up the host's link", err)
	}
	for _, e := range refused {
		switch {
		case e.Step == 0 && !at.plan.asked:
			return at.linkRefused(e)
		case e.Step == 1 && !at.plan.asked: // what the link is called outside
		case e.Step >= at.plan.firstHostRoute() && errors.Is(e, fs.ErrExist):
			return &Error{Code: CodeAttached, Key: "ipam", Err: e,
				Msg: "failed to add route on host: the host has a route to the container's address already (" + e.Error() + ")"}
		default:
			return failed("set up the host's link", e)
		}
	}
	if !at.plan.asked {
		at.tameHostEnd()
	}
	at.tellHost(at.names.Index)
	return nil
}

// tameHostEnd makes IPv6 settings while the container can't send yet, since its end is down. Its router
// advertisements mustn't configure the host. And the host's own link-local address must be usable at once: what
// the host forwards to the container waits for it (ndisc_send_ns, net/ipv6/ndisc.c).
func (at *attaching) tameHostEnd() {
	link := at.plan.names.Link
	_ = sysctl.Write(sysctl.IPv6(link, "accept_ra"), "0")
	if at.plan.asks || at.plan.hasIPv6() {
		_ = sysctl.Write(sysctl.IPv6(link, "accept_dad"), "0")
	}
}

// detachPtP is Detach: what bridge looks for there is all of it.
func detachPtP(ctx context.Context, n *Network, a Attachment) error {
	p, _ := n.pointToPoint()
	return detach(ctx, p, a)
}

func gcPtP(ctx context.Context, n *Network, valid []Attachment) error {
	p, err := n.pointToPoint()
	if err != nil {
		return err
	}
	return p.gc(ctx, valid)
}

func statusPtP(ctx context.Context, n *Network) error {
	p, err := n.pointToPoint()
	if err != nil {
		return err
	}
	return inOrder(func() error { return p.statusIPAM(ctx) }, p.statusRules)
}

func checkPtP(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	p, err := n.pointToPoint()
	if err != nil {
		return err
	}
	if err := checkAttachment(a); err != nil {
		return err
	}
	return p.check(ctx, a, prev, (*checking).pointToPoint)
}

func (c *checking) pointToPoint() error {
	return inOrder(c.checkContainer, c.findHostEnd, c.checkIPs, c.checkRoutes, c.checkHostRoutes, c.checkRules)
}

// checkHostRoutes finds the gateways on the host's end, and the host's routes to the addresses. An attachment that
// the reference made has them too.
func (c *checking) checkHostRoutes() error {
	for _, ip := range c.prev.IPs {
		if !ip.Gateway.IsValid() {
			continue
		}
		gw := result.Single(ip.Gateway)
		on, err := c.host.HasAddr(c.hostEnd.Index, gw)
		if err != nil {
			return failed("list the host end's addresses", err)
		}
		if !on {
			return wrong("gateway " + gw.String() + " is not on " + quote(c.hostEnd.Name))
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
			return failed("list the host's routes", err)
		}
		if r.Dst == dst {
			return nil
		}
	}
	return wrong("the host has no route to " + dst.String() + " by " + quote(c.hostEnd.Name))
}
