// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/bandwidth"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// These are the comparisons of what the plugins that follow a bridge have made.

// following is what exists of theirs.
type following struct {
	published []nft.Published
	allowed   []nft.Allowed
	redirects map[int][]int // indexes of links whose packets are redirected, and where to
	shaped    map[int]bool  // indexes of links with a token bucket filter
	saved     []string      // names of tuning's files
}

func lookAtFollowing(links map[string]rtnl.LinkState) (f following, err error) {
	c, err := nft.Dial()
	if err != nil {
		return f, err
	}
	defer c.Close()
	for p, err := range c.Published("") {
		if err != nil {
			return f, fmt.Errorf("list ports: %w", err)
		}
		f.published = append(f.published, p)
	}
	for a, err := range c.Allowed("") {
		if err != nil {
			return f, fmt.Errorf("list openings: %w", err)
		}
		f.allowed = append(f.allowed, a)
	}
	files, err := os.ReadDir(tuningDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	for _, e := range files {
		f.saved = append(f.saved, e.Name())
	}
	return f, f.lookAtLimits(links)
}

// lookAtLimits looks at the queueing disciplines if there's an ifb.
func (f *following) lookAtLimits(links map[string]rtnl.LinkState) error {
	f.redirects, f.shaped = map[int][]int{}, map[int]bool{}
	any := false
	for _, l := range links {
		any = any || l.Kind == "ifb"
	}
	if !any {
		return nil
	}
	c, err := rtnl.Dial(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, l := range links {
		if l.Kind != "veth" && l.Kind != "ifb" {
			continue
		}
		_, err := c.TBF(l.Index)
		f.shaped[l.Index] = err == nil
		for to, err := range c.Redirects(l.Index) {
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("list redirections of %s: %w", l.Name, err)
			}
			f.redirects[l.Index] = append(f.redirects[l.Index], to.To)
		}
	}
	return nil
}

// checkFollowing looks for ports, openings, ifbs and saved attributes without an owner, and for
// owners without them.
func (c *comparison) checkFollowing() {
	if c.plan.Foreign {
		return
	}
	c.checkPorts()
	c.checkOpenings()
	c.checkIfbs()
	c.checkSaved()
}

// whole reports whether nothing has happened to an attachment that takes a fault away from us.
func (a *attachment) whole(f fault) bool { return a.state == live && a.faults()&(deadly|f) == 0 }

// attachments ranges over all but the absent ones.
func (c *comparison) attachments(do func(*attachment)) {
	for _, n := range c.model.networks {
		for _, a := range c.owners[n] {
			do(a)
		}
	}
}

// owned finds the attachment of an element's owner, and reports a violation if there's none.
func (c *comparison) owned(o nft.Owner, what string, element any, addr netip.Addr) *attachment {
	a := c.ownerOf(o.Network, ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName})
	switch {
	case a == nil:
		c.violate(c.next, ownerless, text(what+" of "+o.String()), fmt.Sprint(element), c.historyNamed(o.Network, o.ContainerID))
	case a.state == live && !slices.Contains(a.addrs(), addr):
		c.wrong(c.next, ownerless, a, "%s is for %s, which it hasn't got: %v", what, addr, element)
	}
	return a
}

// aTarget is a port that leads to an address.
type aTarget struct {
	owner *attachment
	port  uint16
	addr  netip.Addr
}

func (c *comparison) checkPorts() {
	lead, waits := map[aTarget]bool{}, map[aTarget]bool{}
	taken := map[uint16]string{} // the container that has a port
	for _, p := range c.published {
		a := c.owned(p.Owner, "port", p, p.Target.Addr())
		if a == nil {
			continue
		}
		at := aTarget{a, p.Mapping.HostPort, p.Target.Addr()}
		if !slices.ContainsFunc(a.slot.ports(), func(w aPort) bool {
			return w.HostPort == at.port && w.ContainerPort == p.Target.Port() && w.Protocol == p.Mapping.Protocol.String()
		}) {
			c.wrong(c.next, ownerless, a, "it never asked for port %v", p)
		}
		if p.Waiting {
			waits[at] = true
		} else {
			lead[at], taken[at.port] = true, a.slot.id
		}
	}
	c.attachments(func(a *attachment) {
		if !a.net.publishes || !a.whole(faultRules) {
			return
		}
		for _, p := range a.slot.ports() {
			for _, addr := range a.addrs() {
				at := aTarget{a, p.HostPort, addr}
				if !lead[at] && !(waits[at] && taken[p.HostPort] == a.slot.id) {
					c.wrong(c.next, notWhole, a, "port %d doesn't lead to %s: waits %v, is %s's", p.HostPort, addr, waits[at], taken[p.HostPort])
				}
			}
		}
	})
}

func (c *comparison) checkOpenings() {
	open := map[*attachment][]netip.Addr{}
	for _, o := range c.allowed {
		if a := c.owned(o.Owner, "opening", o, o.Addr); a != nil {
			open[a] = append(open[a], o.Addr)
		}
	}
	c.attachments(func(a *attachment) {
		for _, addr := range a.addrs() {
			if a.net.opens && a.whole(faultRules) && !slices.Contains(open[a], addr) {
				c.wrong(c.next, notWhole, a, "the firewall isn't open for %s", addr)
			}
		}
	})
}

// ifb is the name of an attachment's ifb.
func (a *attachment) ifb() string {
	return bandwidth.IfbNames(a.net.name, spec.Attachment{ContainerID: a.slot.id, IfName: a.net.ifName})[0]
}

func (c *comparison) checkIfbs() {
	known := map[string]bool{}
	c.attachments(func(a *attachment) {
		if !a.net.limits {
			return
		}
		known[a.ifb()] = true
		host, there := c.links[a.host]
		if !a.whole(faultName) || !there {
			return
		}
		ifb, ok := c.links[a.ifb()]
		switch {
		case !ok || ifb.State != rtnl.Up:
			c.wrong(c.next, notWhole, a, "its ifb %s is missing or down", a.ifb())
		case !slices.Equal(c.redirects[host.Index], []int{ifb.Index}):
			c.wrong(c.next, notWhole, a, "its packets are redirected to %v, not to %d", c.redirects[host.Index], ifb.Index)
		case !c.shaped[host.Index] || !c.shaped[ifb.Index]:
			c.wrong(c.next, notWhole, a, "its bandwidth isn't limited both ways")
		}
	})
	for name, l := range c.links {
		if l.Kind == "ifb" && !known[name] {
			c.violate(c.next, ownerless, text("ifb "+name), l.Alias, c.historyOfIfb(name))
		}
	}
}

func (c *comparison) historyOfIfb(name string) []string {
	for _, n := range c.model.networks {
		for a := range c.model.all(n) {
			if a.ifb() == name {
				return append(slices.Clone(a.history), a.String())
			}
		}
	}
	return nil
}

func (c *comparison) checkSaved() {
	known := map[string]bool{}
	c.attachments(func(a *attachment) {
		if !a.net.tunes {
			return
		}
		name := a.slot.id + "_" + a.net.ifName + ".json"
		known[name] = true
		if a.whole(0) && !slices.Contains(c.saved, name) {
			c.wrong(c.next, notWhole, a, "its former attributes aren't saved")
		}
		in := c.inside[a.slot]
		if in == nil || !a.whole(0) {
			return
		}
		if mtu := in.links[a.net.ifName].MTU; mtu != tunedMTU {
			c.wrong(c.next, notWhole, a, "its MTU is %d", mtu)
		}
	})
	for _, name := range c.saved {
		if !known[strings.TrimSuffix(name, ".tmp")] {
			c.violate(c.next, ownerless, text("saved attributes "+name), "nothing is attached there", c.historyOfFile(name))
		}
	}
}

func (c *comparison) historyOfFile(name string) []string {
	for _, s := range c.model.slots {
		for _, a := range s.attachments {
			if strings.HasPrefix(name, a.slot.id+"_"+a.net.ifName+".") {
				return a.history
			}
		}
	}
	return nil
}
