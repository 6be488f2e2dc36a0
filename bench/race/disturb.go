// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"

	"github.com/swiftcni/swiftcni/rtnl"
)

// These are the operations that others do to attachments, without a plugin.

// endContainer ends a container without DEL.
func (r *runner) endContainer(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.slot.alive },
		func(a *attachment) error {
			r.count(o.name, "done")
			return r.end(a.slot, o.coin(12))
		})
}

// end ends a slot's namespace. Its links go when the kernel has time for them.
func (r *runner) end(s *slot, leaveFile bool) error {
	r.model.Lock()
	s.alive = false
	for _, a := range s.attachments {
		switch a.state {
		case live:
			a.broken |= faultNetNS
		case uncertain:
			a.holds = false
		}
		a.remember("the namespace ends")
	}
	r.model.Unlock()
	return endNetNS(s.path, leaveFile)
}

func hasHostEnd(a *attachment) bool { return a.state == live && a.faults()&deadly == 0 && a.host != "" }

// deleteLink deletes an attachment's host end.
func (r *runner) deleteLink(o *op) error {
	return r.on(o, hasHostEnd, func(a *attachment) error {
		r.model.Lock()
		generation, host := a.generation, a.host
		a.doubtful |= faultLink
		r.model.Unlock()
		var b rtnl.Batch
		b.Delete(rtnl.Link{Name: host})
		err := change(&b)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.model.Lock()
		defer r.model.Unlock()
		r.count(o.name, "done")
		if a.generation == generation { // GC didn't take it away meanwhile
			a.doubtful &^= faultLink
			a.broken |= faultLink
			a.remember(fmt.Sprintf("%d %s", o.number, o.name))
		}
		return nil
	})
}

// renameLink renames an attachment's host end.
func (r *runner) renameLink(o *op) error {
	fits := func(a *attachment) bool { return hasHostEnd(a) && a.faults()&faultName == 0 }
	return r.on(o, fits, func(a *attachment) error {
		name := fmt.Sprintf("odd%d", o.number)
		c, err := rtnl.Dial(nil)
		if err != nil {
			return err
		}
		defer c.Close()
		r.model.Lock()
		host, generation := a.host, a.generation
		a.doubtful |= faultName
		r.model.Unlock()
		index, err := c.Index(host)
		if err == nil {
			var b rtnl.Batch
			b.Set(rtnl.Link{Index: index, Name: name})
			err = c.Do(&b)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.model.Lock()
		defer r.model.Unlock()
		r.count(o.name, "done")
		if a.generation == generation && err == nil {
			a.broken |= faultName
			a.host = name
			a.remember(fmt.Sprintf("%d %s to %s", o.number, o.name, name))
		}
		return nil
	})
}

// change sends a batch in the host's namespace.
func change(b *rtnl.Batch) error {
	c, err := rtnl.Dial(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Do(b)
}

// disturb does something to all attachments of some networks. Those that were live before have the
// fault for certain afterwards, unless they changed meanwhile.
func (r *runner) disturb(networks []*network, d *disturbance, f fault, what string, do func() error) error {
	before := map[*attachment]int{}
	r.model.Lock()
	d.begun++
	for _, n := range networks {
		for a := range r.model.all(n) {
			if a.state == live {
				before[a] = a.generation
				a.doubtful |= f
			}
		}
	}
	r.model.Unlock()
	err := do()
	r.model.Lock()
	defer r.model.Unlock()
	for a, generation := range before {
		if a.generation == generation && err == nil {
			a.broken |= f
			a.remember(what)
		}
	}
	d.ended++
	return err
}

// deleteBridge deletes a network's bridge under its ports.
func (r *runner) deleteBridge(o *op) error {
	n := r.model.networks[o.at[0].network]
	r.count(o.name, "done")
	do := func() error {
		r.model.Lock()
		n.bridgeSure = false
		r.model.Unlock()
		var b rtnl.Batch
		b.Delete(rtnl.Link{Name: n.bridge})
		if err := change(&b); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return r.disturb([]*network{n}, &n.bridgeGone, faultBridge, fmt.Sprintf("%d %s", o.number, o.name), do)
}

// flushRuleset does the same as a firewall's start script.
func (r *runner) flushRuleset(o *op) error {
	r.count(o.name, "done")
	var networks []*network
	for _, n := range r.model.networks {
		if n.elements() {
			networks = append(networks, n)
		}
	}
	return r.disturb(networks, &r.model.flushed, faultRules, fmt.Sprintf("%d %s", o.number, o.name), func() error {
		return program("nft", "flush", "ruleset")
	})
}

func program(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
