// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
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

func (c *checking) checkContainer() error {
	a := c.attachment
	recorded, err := endpoint.Recorded(c.prev, a)
	if err != nil {
		return err
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

// checkEnd finds the result's addresses and routes in the container.
func (c *checking) checkEnd() error { return endpoint.Look(c.inside, c.container, c.prev) }

// checkRules finds the attachment's elements and the rules that use them. An attachment that the
// reference made has a rule of its own instead, which isn't looked for.
func (c *checking) checkRules() error {
	a := nft.Sender{Owner: c.keys.owner(c.attachment)}
	ours := names.InNetwork(c.keys.conf.Name, c.hostEnd.Link)
	if ours {
		for _, ip := range c.prev.IPs {
			a.Masquerade = append(a.Masquerade, ip.Address)
		}
		a.Masquerade, a.Outbound = c.keys.masqueraded(a.Masquerade), c.keys.conf.Link.Outbound
	}
	if c.keys.guard && ours {
		a.Guard = &nft.Guard{HostLink: c.hostEnd.Name, MAC: c.container.MAC}
	}
	if len(a.Masquerade) == 0 && a.Guard == nil {
		return nil
	}
	return rules.Check(c.call, func(conn *nft.Conn) error { return conn.CheckSender(a) })
}
