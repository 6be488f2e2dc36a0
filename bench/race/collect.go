// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/swiftcni/swiftcni/rtnl"
)

// These are the operations on a network as a whole: GC and STATUS.

func (r *runner) gc(o *op) error     { return r.collect(o, 0) }
func (r *runner) killGC(o *op) error { return r.collect(o, o.delay) }

// collect runs GC with a list, from which one live attachment in fifty is missing. Nothing else
// runs on the network.
func (r *runner) collect(o *op, kill time.Duration) error {
	n := r.model.networks[o.at[0].network]
	n.collection.Lock()
	defer n.collection.Unlock()
	r.model.Lock()
	valid := []validAttachment{}
	var rest []*attachment
	for a := range r.model.all(n) {
		switch {
		case a.state == live && a.broken&faultNetNS == 0 && o.more.IntN(50) > 0:
			valid = append(valid, validAttachment{a.slot.id, n.ifName})
		default:
			rest = append(rest, a)
			a.busy = true
		}
	}
	var guests []*guest
	for _, g := range n.guests {
		if g.state == live && o.more.IntN(10) > 0 {
			valid = append(valid, validAttachment{g.id, guestIfName})
		} else {
			guests = append(guests, g)
		}
	}
	r.model.Unlock()
	out, err := r.perform(n, nil, call{verb: "GC", kill: kill, victim: o.victim()}, nil, valid)
	r.model.Lock()
	defer r.model.Unlock()
	for _, a := range rest {
		a.busy = false
	}
	if err != nil {
		return err
	}
	r.count(o.name, out.short())
	r.judgeGC(o, n, rest, guests, out)
	return nil
}

// judgeGC updates the model of the attachments that weren't listed.
func (r *runner) judgeGC(o *op, n *network, rest []*attachment, guests []*guest, out *outcome) {
	s := absent
	if !r.meetGC(o, n, out) || out.killed {
		s = uncertain
	}
	for _, a := range rest {
		if a.state != absent {
			a.become(s)
			a.remember(fmt.Sprintf("%d %s without it → %s", o.number, o.name, out))
		}
	}
	for _, g := range guests {
		if g.state != absent {
			g.state, g.addrs = s, nil
			n.released++
		}
	}
}

func (r *runner) meetGC(o *op, n *network, out *outcome) bool {
	switch {
	case out.hung:
		r.violate(o.number, hangs, text(n.name), fmt.Sprintf("GC took more than %v", processBound), nil)
	case out.killed || out.exit == 0:
		return true
	case out.interrupted():
	default:
		r.violate(o.number, unexpectedError, text("GC of "+n.name), out.String(), nil)
	}
	return false
}

// interrupted reports whether the others, who don't rest, kept overtaking a listing of links. A GC
// that says so may be run again.
func (o *outcome) interrupted() bool {
	said := []byte(rtnl.ErrInterrupted.Error())
	return o.exit != 0 && (bytes.Contains(o.stdout, said) || bytes.Contains(o.stderr, said))
}

func (r *runner) gcDead(o *op) error     { return r.collectDead(o, 0) }
func (r *runner) killGCDead(o *op) error { return r.collectDead(o, o.delay) }

// collectDead runs GC without a list. It acts only on proof of death, and so may run beside
// anything.
func (r *runner) collectDead(o *op, kill time.Duration) error {
	n := r.model.networks[o.at[0].network]
	n.collection.RLock()
	defer n.collection.RUnlock()
	r.model.Lock()
	dead := map[*attachment]int{}
	for a := range r.model.all(n) {
		if a.state == live && a.broken&faultLink != 0 && !a.busy && n.findsDead(a) {
			dead[a] = a.generation
		}
	}
	r.model.Unlock()
	out, err := r.perform(n, nil, call{verb: "GC", kill: kill, victim: o.victim()}, nil, nil)
	r.model.Lock()
	defer r.model.Unlock()
	if err != nil {
		return err
	}
	r.count(o.name, out.short())
	if !r.meetGC(o, n, out) || out.killed || r.plan.Foreign {
		return nil
	}
	for a, generation := range dead {
		if a.generation == generation && !a.busy {
			a.become(absent)
			a.remember(fmt.Sprintf("%d %s → %s", o.number, o.name, out))
		}
	}
	return nil
}

// findsDead reports whether GC without a list finds a dead attachment: by its lease, or by elements
// that only bridge makes.
func (n *network) findsDead(a *attachment) bool {
	return n.ipam != "" || (n.masquerade || n.guard) && a.faults()&faultRules == 0
}

// swiftctlGC runs swiftctl gc, which acts on proof of death in all networks. What it leaves to GC
// isn't looked at, so the model learns nothing from it.
func (r *runner) swiftctlGC(o *op) error {
	c := call{program: r.plan.Swiftctl, args: []string{"gc", "--data-dir", dataDir, "--conf-dir", confDir}}
	out, err := r.call(&c)
	if err != nil {
		return err
	}
	if out.interrupted() {
		r.count(o.name, "interrupted")
		return nil
	}
	r.count(o.name, out.short())
	if out.exit != 0 || out.hung {
		r.violate(o.number, unexpectedError, text("swiftctl gc"), out.String(), nil)
	}
	return nil
}

// status runs STATUS. A bridge that is just being made may be down.
func (r *runner) status(o *op) error {
	n := r.model.networks[o.at[0].network]
	r.model.Lock()
	sure, bridge := n.bridgeSure, n.bridgeGone.mark()
	r.model.Unlock()
	out, err := r.perform(n, nil, call{verb: "STATUS"}, nil, nil)
	r.model.Lock()
	defer r.model.Unlock()
	if err != nil {
		return err
	}
	r.count(o.name, out.short())
	fine := out.exit == 0 || out.killed || out.code() == codeLimited && (!sure || n.bridgeGone.since(bridge))
	if out.hung || !fine {
		r.violate(o.number, unexpectedError, text("STATUS of "+n.name), out.String(), nil)
	}
	return nil
}
