// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"slices"

	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// An Outcome is what became of one of many attachments: a result, or an *Error.
type Outcome struct {
	Result *Result
	Err    error
}

// AttachAll is [Attach] for many containers of one network at once, as when a host starts: the lease store is locked
// once, all links are made by a send for each 40 of them, all elements by one transaction, and each container's side by
// a send of its own. The outcomes are in the attachments' order.
//
// Each attachment succeeds or fails by itself: what fails is taken back and doesn't concern the others. An address that
// two of them want is the first one's. A network of another plugin than bridge, with a chain, or with an IPAM plugin that is a
// program of its own, is attached to one by one.
func AttachAll(ctx context.Context, n *Network, list []Attachment) []Outcome {
	c := crowd{call: process.Of(ctx), network: n, outcomes: make([]Outcome, len(list))}
	if n.err != nil || n.served.name != "bridge" || n.members != nil || n.delegates() {
		for i, a := range list {
			c.outcomes[i].Result, c.outcomes[i].Err = Attach(ctx, n, a)
		}
		return c.outcomes
	}
	var err error
	if c.host, err = hostid.Read(); err == nil {
		c.conn, err = rtnl.Dial(nil)
	}
	if err != nil {
		for i := range c.outcomes {
			c.outcomes[i].Err = asError(failed("open a netlink socket", err))
		}
		return c.outcomes
	}
	defer c.conn.Close()
	c.prepare(ctx, list)
	c.hostSides()
	c.unlock()
	c.rules()
	for _, at := range c.alive {
		c.finish(at)
	}
	for _, at := range c.again {
		c.settle(at, nil, nil)
		c.outcomes[at.place].Result, c.outcomes[at.place].Err = Attach(ctx, n, at.attachment)
	}
	return c.outcomes
}

// crowd is many attachments at work.
type crowd struct {
	call     *process.Call
	network  *Network
	host     hostid.ID
	conn     *rtnl.Conn
	store    *ipam.Store
	alive    []*attaching // those that haven't failed
	again    []*attaching // whose names are taken, to be tried by others, one by one
	outcomes []Outcome
}

// settle ends an attachment: with a result, or by taking it back.
func (c *crowd) settle(at *attaching, res *Result, err error) {
	if res == nil {
		at.undo.Run()
	}
	at.leaveContainer()
	at.container.Close()
	c.outcomes[at.place].Result = res
	if err != nil {
		c.outcomes[at.place].Err = asError(err)
	}
}

// each runs a step of all that are alive; who fails isn't any more.
func (c *crowd) each(step func(*attaching) error) {
	c.alive = slices.DeleteFunc(c.alive, func(at *attaching) bool {
		err := step(at)
		switch {
		case err == nil:
			return false
		case errors.Is(err, errNameTaken):
			c.again = append(c.again, at)
		default:
			c.settle(at, nil, err)
		}
		return true
	})
}

// prepare checks the attachments, opens their namespaces and reserves their addresses.
func (c *crowd) prepare(ctx context.Context, list []Attachment) {
	n := c.network
	for i, a := range list {
		mac, err := n.checkAttach(a)
		var container *rtnl.NetNS
		if err == nil {
			container, err = netns.Open(a, c.host.NetNS)
		}
		if err != nil {
			c.outcomes[i].Err = asError(err)
			continue
		}
		c.alive = append(c.alive, &attaching{call: c.call, network: n, attachment: a, host: c.host, container: container, mac: mac,
			names: names.Of(n.name, a.ContainerID, a.IfName, 0), conn: c.conn, place: i})
	}
	reserved := make(map[ipam.Owner]bool, len(list))
	c.each(func(at *attaching) error {
		at.store, at.reserved = c.store, reserved
		addrs, err := at.reserve(ctx)
		c.store = at.store
		if err != nil {
			return err
		}
		reserved[names.Lessee(at.attachment)] = true
		at.plan = newPlan(n, at.attachment, at.names, addrs, at.mac, at.seed())
		at.plan.announce = at.plan.announce || at.otherMAC
		return at.plan.checkGateways()
	})
}

// hostSides makes all links. The first attachment makes its own, and sees to the bridge; so does one whose gateways are
// others than the first's, as with several subnets.
func (c *crowd) hostSides() {
	var head *attaching
	var rest []*attaching
	c.each(func(at *attaching) error {
		if head != nil && c.network.bridge.vlan == 0 && slices.Equal(at.plan.gateways, head.plan.gateways) {
			rest = append(rest, at)
			return nil
		}
		err := at.hostSide()
		if err == nil && head == nil {
			head = at
		}
		return err
	})
	if len(rest) == 0 {
		return
	}
	bridge, err := c.conn.Index(c.network.bridge.name)
	if err == nil {
		err = c.links(rest, bridge)
	}
	c.each(func(at *attaching) error {
		switch {
		case at == head:
			return at.pinBridge(bridge, false)
		case slices.Contains(rest, at):
			return failed("attach to the bridge", err)
		}
		return nil
	})
}

// links makes the links of some attachments in one batch. Its error is that of all; each one's own ends it at once.
func (c *crowd) links(some []*attaching, bridge int) error {
	var b rtnl.Batch
	ends := make(map[*attaching]int, len(some))
	for _, at := range some {
		at.plan.portBatch(&b, bridge, at.container)
		at.undo.Push("link", at.removeLink)
		ends[at] = b.Len()
	}
	err := c.conn.Do(&b)
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return err
	}
	begin := 0
	for _, at := range some {
		var own rtnl.Refused
		for len(refused) > 0 && refused[0].Step < ends[at] {
			e := *refused[0]
			e.Step -= begin
			own, refused = append(own, &e), refused[1:]
		}
		begin = ends[at]
		if own == nil {
			continue
		}
		_, err := at.sortRefusals(own, nil)
		c.each(func(other *attaching) error {
			if other == at {
				return err
			}
			return nil
		})
	}
	b.Reset()
	for _, at := range some {
		at.plan.neighbourBatch(&b, bridge)
	}
	if b.Len() > 0 {
		_ = c.conn.Do(&b) // as tellHost
	}
	return nil
}

// unlock lets others at the leases: the records name links that exist now.
func (c *crowd) unlock() {
	if c.store == nil {
		return
	}
	for _, at := range slices.Concat(c.alive, c.again) {
		at.store = nil
	}
	err := c.store.Close()
	c.store = nil
	if err != nil {
		c.each(func(*attaching) error { return failed("close the lease store", err) })
	}
}

// rules puts all elements into the ruleset. If that's refused, who is to blame shows one by one.
func (c *crowd) rules() {
	c.each((*attaching).endStrangers)
	var list []nft.Sender
	for _, at := range c.alive {
		if elements, ok := at.plan.rules(); ok {
			list = append(list, elements)
		}
	}
	if len(list) < 2 || slices.ContainsFunc(c.alive, func(at *attaching) bool { return at.newBridge }) {
		c.each((*attaching).rules)
		return
	}
	conn, err := nft.Dial()
	if err == nil {
		defer c.call.Close(conn, false)
		err = conn.Attach(list...)
	}
	if err != nil {
		c.each((*attaching).rules)
		return
	}
	for _, at := range c.alive {
		if elements, ok := at.plan.rules(); ok {
			at.undo.Push("ruleset elements", func() error { return detachElements(elements) })
		}
	}
}

// finish sets up the container's side.
func (c *crowd) finish(at *attaching) {
	var res *Result
	err := inOrder(at.containerSide, at.portUp, at.awaitIPv6, at.announce, func() (err error) {
		res, err = at.result()
		return err
	})
	if err != nil {
		res = nil
	}
	c.settle(at, res, err)
}
