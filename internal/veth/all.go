// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// AddAll is Add for many containers of one network at once, as when a host starts: the lease store
// is locked once, all links are made by a send for each 40 of them, all elements by one
// transaction, and each container's side by a send of its own. Each attachment succeeds or fails by
// itself. Where an IPAM plugin must be asked, it's done one by one.
func (k *Bridge) AddAll(ctx context.Context, call *verbs.Call, list []spec.Attachment) ([]*spec.Result, []error) {
	c := crowd{call: process.Of(ctx), keys: &k.Keys, bridge: bridge{k.conf}, results: make([]*spec.Result, len(list)), errs: make([]error, len(list))}
	if k.conf.Delegates() {
		for i, a := range list {
			c.results[i], c.errs[i] = k.Add(ctx, call, a)
		}
		return c.results, c.errs
	}
	var err error
	if c.host, err = hostid.Read(c.call); err == nil {
		c.conn, err = c.call.Route()
	}
	if err != nil {
		for i := range c.errs {
			c.errs[i] = fault.Wrap("open a netlink socket", err)
		}
		return c.results, c.errs
	}
	defer c.call.CloseRoute(c.conn)
	c.mtu = k.mtu(c.conn)
	c.prepare(ctx, list)
	c.hostSides()
	c.unlock()
	c.rules()
	for _, at := range c.alive {
		c.finish(at)
	}
	for _, at := range c.again {
		c.settle(at, nil, nil)
		c.results[at.place], c.errs[at.place] = k.Add(ctx, call, at.attachment)
	}
	return c.results, c.errs
}

// crowd is many attachments at work.
type crowd struct {
	call    *process.Call
	keys    *Keys
	bridge  bridge
	host    hostid.ID
	conn    *rtnl.Conn
	mtu     int // of the links; 0 is the kernel's default
	store   *ipam.Store
	alive   []*attaching // those that haven't failed
	again   []*attaching // whose names are taken, to be tried by others, one by one
	results []*spec.Result
	errs    []error
}

// settle ends an attachment: with a result, or by taking it back.
func (c *crowd) settle(at *attaching, res *spec.Result, err error) {
	if res == nil {
		at.undo.Run()
	}
	at.inside.Leave()
	at.container.Close()
	c.results[at.place] = res
	if err != nil {
		c.errs[at.place] = fault.Of(err)
	}
}

// each runs a step of all that are alive; one that fails isn't any more.
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
func (c *crowd) prepare(ctx context.Context, list []spec.Attachment) {
	for i, a := range list {
		mac, err := c.keys.checkAdd(a)
		var container *rtnl.NetNS
		if err == nil {
			container, err = netns.Open(a, c.host.NetNS)
		}
		if err != nil {
			c.errs[i] = fault.Of(err)
			continue
		}
		c.alive = append(c.alive, &attaching{call: c.call, keys: c.keys, attachment: a, host: c.host, container: container, mac: mac,
			side: c.keys.side(), names: c.keys.namesOf(a, 0), conn: c.conn, mtu: c.mtu, place: i})
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
		at.decide(addrs, endpoint.Whole)
		return at.side.refuse(at.plan)
	})
}

// hostSides makes all links. The first attachment makes its own, and sees to the bridge; so does
// one whose gateways are others than the first's, as with several subnets.
func (c *crowd) hostSides() {
	var head *attaching
	var rest []*attaching
	c.each(func(at *attaching) error {
		if head != nil && c.keys.conf.Bridge.VLAN == 0 && slices.Equal(at.plan.gateways, head.plan.gateways) {
			rest = append(rest, at)
			return nil
		}
		err := at.side.hostSide(at)
		if err == nil && head == nil {
			head = at
		}
		return err
	})
	if len(rest) == 0 {
		return
	}
	index, err := c.conn.Index(c.keys.conf.Bridge.Name)
	if err == nil {
		err = c.links(rest, index)
	}
	c.each(func(at *attaching) error {
		switch {
		case at == head:
			return c.bridge.pin(at, index, false)
		case slices.Contains(rest, at):
			return fault.Wrap("attach to the bridge", err)
		}
		return nil
	})
}

// links makes the links of some attachments in one batch. Its error is that of all; each one's own
// ends it at once.
func (c *crowd) links(some []*attaching, index int) error {
	var b rtnl.Batch
	ends := make(map[*attaching]int, len(some))
	for _, at := range some {
		c.bridge.portBatch(at.plan, &b, index, at.container)
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
		_, err := c.bridge.sortRefusals(at, own, nil)
		c.each(func(other *attaching) error {
			if other == at {
				return err
			}
			return nil
		})
	}
	b.Reset()
	for _, at := range some {
		at.plan.neighbourBatch(&b, index)
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
		c.each(func(*attaching) error { return fault.Wrap("close the lease store", err) })
	}
}

// rules puts all elements into the ruleset. If that's refused, the culprit shows one by one.
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
	conn, err := c.call.Rules()
	if err == nil {
		defer c.call.CloseRules(conn, false)
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
	var res *spec.Result
	err := inOrder(at.containerSide, at.portUp, at.awaitIPv6, at.announce, func() (err error) {
		res, err = at.result()
		return err
	})
	if err != nil {
		res = nil
	}
	c.settle(at, res, err)
}
