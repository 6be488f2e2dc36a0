// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// pause compares the world with the model, while nothing else runs. next is the number of the next
// operation.
func (r *runner) pause(next int) error {
	r.residents.rest()
	left, err := processes()
	if err != nil {
		return err
	}
	for _, p := range left {
		r.violate(next, processLeft, text(p), fmt.Sprintf("after %v", childBound), nil)
	}
	w, err := r.look()
	if err != nil {
		return err
	}
	r.report.Pauses++
	c := &comparison{runner: r, world: w, next: next, owners: map[*network]map[ipam.Owner]*attachment{}}
	for _, n := range r.model.networks {
		c.owners[n] = map[ipam.Owner]*attachment{}
		for a := range r.model.all(n) {
			if a.state != absent {
				c.owners[n][ipam.Owner{ContainerID: a.slot.id, IfName: n.ifName}] = a
			}
		}
	}
	c.run()
	if r.stopped.Load() {
		return errViolated
	}
	return r.residents.resume()
}

// A comparison is a world beside the model.
type comparison struct {
	*runner
	*world
	next   int
	owners map[*network]map[ipam.Owner]*attachment // all but the absent ones
}

func (c *comparison) run() {
	for _, n := range c.model.networks {
		c.checkLeases(n)
		c.checkRecords(n)
	}
	c.checkElements()
	c.checkFollowing()
	c.checkHostEnds()
	c.checkAddresses()
	for _, n := range c.model.networks {
		for _, a := range c.owners[n] {
			if a.state == live {
				c.checkWhole(a)
			}
		}
	}
}

// guest finds a guest that may have something.
func (c *comparison) guest(n *network, o ipam.Owner) *guest {
	for _, g := range n.guests {
		if g.id == o.ContainerID && o.IfName == guestIfName && g.state != absent {
			return g
		}
	}
	return nil
}

// checkLeases looks for leases without an owner, and for leases whose owner has others.
func (c *comparison) checkLeases(n *network) {
	for addr, l := range c.leases[n] {
		subject := text("lease of " + addr.String() + " in " + n.name)
		a := c.owners[n][l.owner]
		g := c.guest(n, l.owner)
		switch {
		case l.empty && c.model.guestKilled:
		case a == nil && g == nil:
			c.violate(c.next, ownerless, subject, fmt.Sprintf("%q, which is attached to nothing", l.owner.String()), c.historyOf(n, l.owner))
		case a != nil && a.state == live && !slices.Contains(a.addrs(), addr):
			c.violate(c.next, ownerless, subject, a.String()+" got other addresses", a.history)
		}
	}
	if n.ipam == "" {
		return
	}
	for _, a := range c.owners[n] {
		for _, addr := range a.addrs() {
			if o := c.leases[n][addr].owner; a.state == live && a.firm() && c.owners[n][o] != a {
				c.wrong(c.next, notWhole, a, "its address %s is leased to %q", addr, o.String())
			}
		}
	}
}

// historyOf finds the history of an owner that has or had an attachment.
func (c *comparison) historyOf(n *network, o ipam.Owner) []string {
	for a := range c.model.all(n) {
		if a.slot.id == o.ContainerID {
			return a.history
		}
	}
	return nil
}

func (c *comparison) checkRecords(n *network) {
	for _, rec := range c.records[n] {
		if c.owners[n][rec.Owner] == nil && c.guest(n, rec.Owner) == nil {
			c.violate(c.next, ownerless, text("record of "+n.name+"/"+rec.Owner.String()), fmt.Sprint(rec), c.historyOf(n, rec.Owner))
		}
	}
}

// checkElements looks for elements without an owner, and for owners without their elements.
func (c *comparison) checkElements() {
	if c.plan.Foreign {
		return
	}
	seen := map[*attachment][]netip.Addr{}
	guarded := map[*attachment]bool{}
	for _, e := range c.elements {
		a := c.ownerOf(e.Owner.Network, ipam.Owner{ContainerID: e.Owner.ContainerID, IfName: e.Owner.IfName})
		if a == nil {
			c.violate(c.next, ownerless, text("elements of "+e.Owner.String()), fmt.Sprint(e), c.historyNamed(e.Owner.Network, e.Owner.ContainerID))
			continue
		}
		guarded[a] = e.Guard != nil
		for _, p := range e.Masquerade {
			seen[a] = append(seen[a], p.Addr())
			if a.state == live && !slices.Contains(a.addrs(), p.Addr()) {
				c.wrong(c.next, ownerless, a, "an element is for %s, which it hasn't got", p)
			}
		}
	}
	for _, n := range c.model.networks {
		for _, a := range c.owners[n] {
			c.checkElementsOf(a, seen[a], guarded[a])
		}
	}
}

func (c *comparison) checkElementsOf(a *attachment, has []netip.Addr, guarded bool) {
	if a.state != live || a.faults()&(deadly|faultRules) != 0 {
		return
	}
	if a.net.guard && !guarded {
		c.wrong(c.next, notWhole, a, "its guard isn't in the ruleset")
	}
	for _, addr := range a.addrs() {
		if a.net.masquerade && !slices.Contains(has, addr) {
			c.wrong(c.next, notWhole, a, "%s isn't masqueraded", addr)
		}
	}
}

func (c *comparison) networkNamed(name string) *network {
	for _, n := range c.model.networks {
		if n.name == name {
			return n
		}
	}
	return nil
}

func (c *comparison) ownerOf(network string, o ipam.Owner) *attachment {
	return c.owners[c.networkNamed(network)][o]
}

func (c *comparison) historyNamed(network, id string) []string {
	if n := c.networkNamed(network); n != nil {
		return c.historyOf(n, ipam.Owner{ContainerID: id})
	}
	return nil
}

// checkHostEnds looks for links of the host that belong to nobody. Those of uncertain attachments
// are known by the names that swiftcni derives. For other plugins, one is allowed for each
// uncertain attachment.
func (c *comparison) checkHostEnds() {
	known := map[string]bool{}
	allowed := 0
	for _, n := range c.model.networks {
		for _, a := range c.owners[n] {
			known[a.host] = true
			if a.state == uncertain || a.faults()&faultNetNS != 0 {
				allowed++
			}
			for attempt := 0; attempt < 4 && !c.plan.Foreign; attempt++ {
				known[hostEnd(n.name, a.slot.id, n.ifName, attempt)] = true
			}
		}
	}
	for name, l := range c.links {
		if l.Kind != "veth" || known[name] {
			continue
		}
		if allowed--; c.plan.Foreign && allowed >= 0 {
			continue
		}
		c.violate(c.next, ownerless, text("link "+name), fmt.Sprintf("index %d, MAC %s", l.Index, l.MAC), c.historyOfLink(name))
	}
}

// historyOfLink finds the history of an attachment that has or had a host end.
func (c *comparison) historyOfLink(name string) []string {
	for _, n := range c.model.networks {
		for a := range c.model.all(n) {
			if a.host == name || hostEnd(n.name, a.slot.id, n.ifName, 0) == name {
				return append(slices.Clone(a.history), a.String())
			}
		}
	}
	return nil
}

// hostEnd is the name that swiftcni derives for an attachment's host end.
func hostEnd(network, id, ifName string, attempt int) string {
	sum := sha512.Sum512([]byte(strings.Join([]string{network, id, ifName, strconv.Itoa(attempt)}, "\x00")))
	return "veth" + hex.EncodeToString(sum[:4])
}

// checkAddresses looks for addresses that two containers have configured, and for links in them
// without an owner.
func (c *comparison) checkAddresses() {
	has := map[netip.Addr]*attachment{}
	for _, s := range c.model.slots {
		in := c.inside[s]
		if in == nil {
			continue
		}
		for name, l := range in.links {
			if name == "lo" {
				continue
			}
			i := slices.IndexFunc(s.attachments, func(a *attachment) bool { return a.net.ifName == name && a.state != absent })
			if i < 0 {
				c.violate(c.next, ownerless, text("link "+name+" in "+s.id), "nothing is attached there", c.historyOfInside(s, name))
				continue
			}
			a := s.attachments[i]
			for _, p := range in.addrs[l.Index] {
				b := has[p.Addr()]
				if b != nil && a.firm() && b.firm() {
					c.wrong(c.next, addressTwice, a, "%s is on a link of %s, too:\n\t%s", p, b, lines(b.history))
				}
				if b == nil || a.firm() {
					has[p.Addr()] = a
				}
			}
		}
	}
}

func (c *comparison) historyOfInside(s *slot, name string) []string {
	for _, a := range s.attachments {
		if a.net.ifName == name {
			return a.history
		}
	}
	return nil
}

// checkWhole looks at everything of an undisturbed live attachment.
func (c *comparison) checkWhole(a *attachment) {
	if a.faults()&deadly != 0 {
		return
	}
	host, ok := c.links[a.host]
	switch {
	case !ok && a.doubtful&faultName == 0:
		c.wrong(c.next, notWhole, a, "its host end %s is gone", a.host)
	case ok && host.State != rtnl.Up:
		c.wrong(c.next, notWhole, a, "its host end %s is down", a.host)
	case ok && a.faults()&faultBridge == 0 && host.Master != c.links[a.net.bridge].Index:
		c.wrong(c.next, notWhole, a, "its host end %s isn't a port of %s", a.host, a.net.bridge)
	}
	in := c.inside[a.slot]
	if in == nil {
		return
	}
	l, ok := in.links[a.net.ifName]
	if !ok || l.State != rtnl.Up {
		c.wrong(c.next, notWhole, a, "its link is missing or down")
		return
	}
	for _, ip := range a.result.IPs {
		if !slices.Contains(in.addrs[l.Index], ip.Address) {
			c.wrong(c.next, notWhole, a, "%s isn't on its link", ip.Address)
		}
	}
	for _, want := range a.result.Routes {
		if !slices.ContainsFunc(in.routes, func(r rtnl.Route) bool { return r.Dst == want.Dst && r.Link == l.Index }) {
			c.wrong(c.next, notWhole, a, "its route to %s is missing", want.Dst)
		}
	}
}
