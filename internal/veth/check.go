// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Check finds out whether an attachment is there.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	if err := k.side().problem(k.conf); err != nil {
		return err
	}
	switch {
	case c.PrevErr != nil:
		return c.PrevErr
	case c.Prev == nil:
		missing := fault.Key("prevResult", "Required prevResult missing")
		if k.speaker != "" {
			missing = fault.During(k.speaker, missing)
		}
		return missing
	}
	call := process.Of(ctx)
	host, err := call.NetNS()
	if err != nil {
		return fault.Wrap("identify the host's network namespace", err)
	}
	container, err := netns.Open(a, host)
	if err != nil {
		return err
	}
	defer container.Close()
	if from := k.addresses(); from != nil {
		if err := from.Check(ctx, c, a); err != nil {
			return err
		}
	}
	look := &checking{call: call, keys: k, attachment: a, prev: c.Prev}
	if look.host, err = call.Route(); err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(look.host)
	if look.inside, err = rtnl.DialWith(ctx, container, nil); err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer look.inside.Close()
	return k.side().look(look)
}

// checking is one attachment under inspection.
type checking struct {
	call       *process.Call
	keys       *Keys
	attachment spec.Attachment
	prev       *spec.Result
	host       *rtnl.Conn
	inside     *rtnl.Conn

	bridge    rtnl.LinkState // of that topology
	container rtnl.LinkState
	hostEnd   rtnl.LinkState
}

func (c *checking) find(is func(spec.Interface) bool) *spec.Interface {
	for _, i := range c.prev.Interfaces {
		if is(i) {
			return &i
		}
	}
	return nil
}

func (c *checking) checkContainer() error {
	a := c.attachment
	recorded := c.find(func(i spec.Interface) bool { return i.Name == a.IfName && i.Sandbox == a.NetNS })
	if recorded == nil {
		other := c.find(func(i spec.Interface) bool { return i.Name == a.IfName && i.Sandbox != "" })
		if other != nil {
			return fault.Wrong("Sandbox in prevResult " + other.Sandbox + " doesn't match configured netns: " + a.NetNS)
		}
		return fault.Wrong("prevResult has no container interface " + strconv.Quote(a.IfName))
	}
	l, err := c.inside.Link(a.IfName)
	switch {
	case err != nil:
		return fault.Wrap("failed to lookup container interface "+strconv.Quote(a.IfName), err)
	case l.Kind != "veth":
		return fault.Wrong("container interface " + strconv.Quote(a.IfName) + " is not a veth")
	case recorded.MAC != "" && recorded.MAC != l.MAC.String():
		return fault.Wrong("interface " + strconv.Quote(a.IfName) + " MAC " + l.MAC.String() + " doesn't match prevResult's " + recorded.MAC)
	}
	c.container = l
	return nil
}

// findHostEnd finds the host end by the indexes that a pair knows of each other, whatever later
// plugins put into the result.
func (c *checking) findHostEnd() error {
	for _, i := range c.prev.Interfaces {
		if i.Sandbox != "" || i.Name == c.bridge.Name {
			continue
		}
		l, err := c.host.Link(i.Name)
		if err != nil || l.Kind != "veth" || l.Index != c.container.PeerIndex || l.PeerIndex != c.container.Index {
			continue
		}
		if i.MAC != "" && i.MAC != l.MAC.String() {
			return fault.Wrong("interface " + strconv.Quote(i.Name) + " MAC " + l.MAC.String() + " doesn't match prevResult's " + i.MAC)
		}
		c.hostEnd = l
		return nil
	}
	of := ""
	if c.bridge.Name != "" {
		of = " for bridge " + c.bridge.Name
	}
	return fault.Wrong("CNI veth created" + of + " was not found")
}

func (c *checking) checkIPs() error {
	for _, ip := range c.prev.IPs {
		on, err := c.inside.HasAddr(c.container.Index, ip.Address)
		if err != nil {
			return fault.Wrap("list the container's addresses", err)
		}
		if !on {
			return fault.Wrong("Failed to match addr " + ip.Address.String() + " on interface " + c.attachment.IfName)
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
			return fault.Wrap("list the container's routes", err)
		}
		if !found {
			return fault.Wrong("Expected Route " + want.Dst.String() + " not found")
		}
	}
	return nil
}

func (c *checking) hasRoute(want spec.Route, table uint32) (found bool, _ error) {
	for r, err := range c.inside.Routes(rtnl.RouteFilter{Table: table}) {
		if err != nil {
			return false, err
		}
		gw := result.Specified(want.Gateway)
		found = found || r.Dst == want.Dst.Masked() && (!gw.IsValid() || r.Gateway == gw)
	}
	return found, nil
}

// hasRouteBySource looks into the tables that rules lead to from the attachment's addresses: a
// later plugin may have moved the route there.
func (c *checking) hasRouteBySource(want spec.Route) (bool, error) {
	for r, err := range c.inside.Rules(result.Family(want.Dst.Addr())) {
		if err != nil {
			return false, err
		}
		own := slices.ContainsFunc(c.prev.IPs, func(ip spec.IP) bool { return result.Single(ip.Address.Addr()) == r.Src })
		if !own || r.Table == 0 || r.OtherSelectors {
			continue
		}
		if found, err := c.hasRoute(want, r.Table); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// checkRules finds the attachment's elements and the rules that use them. An attachment that the
// reference made has a rule of its own instead, which isn't looked for.
func (c *checking) checkRules() error {
	a := nft.Sender{Owner: c.keys.owner(c.attachment)}
	ours := names.InNetwork(c.keys.conf.Name, c.hostEnd.Link)
	if c.keys.conf.Link.IPMasq && ours {
		for _, ip := range c.prev.IPs {
			a.Masquerade = append(a.Masquerade, ip.Address)
		}
	}
	if c.keys.guard && ours {
		a.Guard = &nft.Guard{HostLink: c.hostEnd.Name, MAC: c.container.MAC}
	}
	if a.Masquerade == nil && a.Guard == nil {
		return nil
	}
	return rules.Check(c.call, func(conn *nft.Conn) error { return conn.CheckSender(a) })
}
