// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"slices"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

func checkBridged(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	if err := checkAttachment(a); err != nil {
		return err
	}
	if err := n.checkBridge(); err != nil {
		return err
	}
	return n.check(ctx, a, prev, (*checking).bridged)
}

// check finds out whether an attachment of any kind is there: look goes through what it consists of.
func (n *Network) check(ctx context.Context, a Attachment, prev *Result, look func(*checking) error) error {
	switch {
	case n.prevErr != nil:
		return n.prevErr
	case prev == nil:
		missing := invalidKey("prevResult", "Required prevResult missing")
		if n.plugin == "ptp" {
			missing = fault.During("ptp", missing)
		}
		return missing
	}
	host, err := rtnl.CurrentNetNSID()
	if err != nil {
		return failed("identify the host's network namespace", err)
	}
	container, err := netns.Open(a, host)
	if err != nil {
		return err
	}
	defer container.Close()
	if err := n.checkAddressManagement(ctx, a, prev); err != nil {
		return err
	}
	c := &checking{network: n, attachment: a, prev: prev}
	if c.host, err = rtnl.Dial(nil); err != nil {
		return failed("open a netlink socket", err)
	}
	defer c.host.Close()
	if c.inside, err = rtnl.Dial(container); err != nil {
		return failed("open a netlink socket in the container", err)
	}
	defer c.inside.Close()
	return look(c)
}

// checkAddressManagement asks IPAM, where there is one.
func (n *Network) checkAddressManagement(ctx context.Context, a Attachment, prev *Result) error {
	switch n.ipam.plugin {
	case "":
		return nil
	case hostLocal:
		return n.checkLease(ctx, a)
	case static:
		return checkStatic(ctx, n, a, prev)
	}
	return n.delegate(ctx, "CHECK", a)
}

// checking is one attachment under inspection.
type checking struct {
	network    *Network
	attachment Attachment
	prev       *Result
	host       *rtnl.Conn
	inside     *rtnl.Conn

	bridge    rtnl.Link
	container rtnl.Link
	hostEnd   rtnl.Link
}

func (c *checking) bridged() error {
	return inOrder(c.checkBridge, c.checkContainer, c.checkHostEnd, c.checkIPs, c.checkRoutes, c.checkGateway, c.checkRules)
}

// inOrder returns the first error.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) checkBridge() error {
	k := &c.network.bridge
	recorded := c.find(func(i Interface) bool { return i.Name == k.name && i.Sandbox == "" })
	l, err := c.host.Link(k.name)
	switch {
	case err != nil:
		return failed("failed to lookup bridge "+quote(k.name), err)
	case l.Kind != "bridge":
		return wrong(quote(k.name) + " is not a bridge")
	case recorded == nil:
		return wrong("prevResult has no bridge interface " + quote(k.name))
	case recorded.MAC != "" && recorded.MAC != l.MAC.String():
		return wrong("bridge " + quote(k.name) + " MAC " + l.MAC.String() + " doesn't match prevResult's " + recorded.MAC)
	case k.promisc && l.Promisc != rtnl.On:
		return wrong("bridge " + quote(k.name) + " isn't promiscuous")
	}
	c.bridge = l
	return nil
}

func (c *checking) find(is func(Interface) bool) *Interface {
	for _, i := range c.prev.Interfaces {
		if is(i) {
			return &i
		}
	}
	return nil
}

func (c *checking) checkContainer() error {
	a := c.attachment
	recorded := c.find(func(i Interface) bool { return i.Name == a.IfName && i.Sandbox == a.NetNS })
	if recorded == nil {
		other := c.find(func(i Interface) bool { return i.Name == a.IfName && i.Sandbox != "" })
		if other != nil {
			return wrong("Sandbox in prevResult " + other.Sandbox + " doesn't match configured netns: " + a.NetNS)
		}
		return wrong("prevResult has no container interface " + quote(a.IfName))
	}
	l, err := c.inside.Link(a.IfName)
	switch {
	case err != nil:
		return failed("failed to lookup container interface "+quote(a.IfName), err)
	case l.Kind != "veth":
		return wrong("container interface " + quote(a.IfName) + " is not a veth")
	case recorded.MAC != "" && recorded.MAC != l.MAC.String():
		return wrong("interface " + quote(a.IfName) + " MAC " + l.MAC.String() + " doesn't match prevResult's " + recorded.MAC)
	}
	c.container = l
	return nil
}

// checkHostEnd finds the host end by the indexes that a pair knows of each other, whatever later plugins put
// into the result.
func (c *checking) checkHostEnd() error {
	if err := c.findHostEnd(); err != nil {
		return err
	}
	if name := c.network.bridge.name; c.hostEnd.Master != c.bridge.Index {
		return wrong("veth " + quote(c.hostEnd.Name) + " is not a port of bridge " + quote(name))
	}
	return nil
}

func (c *checking) findHostEnd() error {
	for _, i := range c.prev.Interfaces {
		if i.Sandbox != "" || i.Name == c.network.bridge.name {
			continue
		}
		l, err := c.host.Link(i.Name)
		if err != nil || l.Kind != "veth" || l.Index != c.container.PeerIndex || l.PeerIndex != c.container.Index {
			continue
		}
		if i.MAC != "" && i.MAC != l.MAC.String() {
			return wrong("interface " + quote(i.Name) + " MAC " + l.MAC.String() + " doesn't match prevResult's " + i.MAC)
		}
		c.hostEnd = l
		return nil
	}
	of := ""
	if c.network.bridge.name != "" {
		of = " for bridge " + c.network.bridge.name
	}
	return wrong("CNI veth created" + of + " was not found")
}

func (c *checking) checkIPs() error {
	for _, ip := range c.prev.IPs {
		on, err := c.inside.HasAddr(c.container.Index, ip.Address)
		if err != nil {
			return failed("list the container's addresses", err)
		}
		if !on {
			return wrong("Failed to match addr " + ip.Address.String() + " on interface " + c.attachment.IfName)
		}
	}
	return nil
}

// checkRoutes looks for each route of the result in the table that it names.
func (c *checking) checkRoutes() error {
	for _, want := range c.prev.Routes {
		table := uint32(rtnl.TableMain)
		if want.Table != nil && *want.Table != 0 {
			table = uint32(*want.Table)
		}
		found, err := c.hasRoute(want, table)
		if err == nil && !found && table == rtnl.TableMain {
			found, err = c.hasRouteBySource(want)
		}
		if err != nil {
			return failed("list the container's routes", err)
		}
		if !found {
			return wrong("Expected Route " + want.Dst.String() + " not found")
		}
	}
	return nil
}

func (c *checking) hasRoute(want Route, table uint32) (found bool, _ error) {
	for r, err := range c.inside.Routes(rtnl.RouteFilter{Table: table}) {
		if err != nil {
			return false, err
		}
		gw := result.Specified(want.Gateway)
		found = found || r.Dst == want.Dst.Masked() && (!gw.IsValid() || r.Gateway == gw)
	}
	return found, nil
}

// hasRouteBySource looks into the tables that rules lead to from the attachment's addresses: a later plugin may have
// moved the route there.
func (c *checking) hasRouteBySource(want Route) (bool, error) {
	for r, err := range c.inside.Rules(result.Family(want.Dst.Addr())) {
		if err != nil {
			return false, err
		}
		own := slices.ContainsFunc(c.prev.IPs, func(ip IP) bool { return result.Single(ip.Address.Addr()) == r.Src })
		if !own || r.Table == 0 || r.OtherSelectors {
			continue
		}
		if found, err := c.hasRoute(want, r.Table); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// checkGateway finds the gateway addresses on the bridge, or on the VLAN's gateway.
func (c *checking) checkGateway() error {
	k := &c.network.bridge
	if !k.gateway() {
		return nil
	}
	link, name := c.bridge.Index, k.name
	if k.vlan != 0 {
		name = vlanGatewayName(k.name, k.vlan)
		index, err := c.host.Index(name)
		if err != nil {
			return failed("failed to lookup "+quote(name), err)
		}
		link = index
	}
	for _, want := range k.gatewaysOf(c.prev.IPs) {
		on, err := c.host.HasAddr(link, want)
		if err != nil {
			return failed("list the bridge's addresses", err)
		}
		if !on {
			return wrong("gateway " + want.String() + " is not on " + quote(name))
		}
	}
	return nil
}

// checkRules finds the attachment's elements and the rules that use them. An attachment that the reference made
// has a rule of its own instead, which isn't looked for.
func (c *checking) checkRules() error {
	k := &c.network.bridge
	a := nft.Sender{Owner: c.network.rulesOwner(names.Lessee(c.attachment))}
	ours := names.InNetwork(c.network.name, c.hostEnd)
	if k.ipMasq && ours {
		for _, ip := range c.prev.IPs {
			a.Masquerade = append(a.Masquerade, ip.Address)
		}
	}
	if k.macSpoofCheck && ours {
		a.Guard = &nft.Guard{HostLink: c.hostEnd.Name, MAC: c.container.MAC}
	}
	if a.Masquerade == nil && a.Guard == nil {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return failed("check nftables", err)
	}
	defer conn.Close()
	err = conn.CheckSender(a)
	var missing *nft.MissingError
	if errors.As(err, &missing) {
		return &Error{Code: CodeInternal, Msg: "ruleset: " + err.Error(), Err: err}
	}
	return failed("check nftables", err)
}
