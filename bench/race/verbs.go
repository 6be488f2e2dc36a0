// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"time"
)

// These are the operations that are verbs of one attachment.

func (r *runner) add(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state != live || a.broken&deadly != 0 },
		func(a *attachment) error { return r.attach(o, a, call{}) })
}

func (r *runner) addAgain(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state == live },
		func(a *attachment) error { return r.attach(o, a, call{}) })
}

func (r *runner) killAdd(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state != live || o.coin(10) && o.coin(11) },
		func(a *attachment) error { return r.attach(o, a, call{kill: o.delay}) })
}

// addToDying ends the container during ADD.
func (r *runner) addToDying(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state == absent && a.slot.alive },
		func(a *attachment) error {
			var ended error
			err := r.attach(o, a, call{delay: o.delay, meanwhile: func() { ended = r.end(a.slot, o.coin(12)) }})
			if err == nil {
				err = ended
			}
			return err
		})
}

// attach runs ADD and judges it. c has its special options. After a failure in the middle of a list,
// runtimes mostly run DEL.
func (r *runner) attach(o *op, a *attachment, c call) error {
	half, err := r.tryToAttach(o, a, c)
	if err == nil && half && (o.coin(14) || o.coin(15)) {
		err = r.detach(o, a, 0)
	}
	return err
}

// tryToAttach reports whether only a part of a list succeeded.
func (r *runner) tryToAttach(o *op, a *attachment, c call) (half bool, err error) {
	a.net.collection.RLock()
	defer a.net.collection.RUnlock()
	// One in eight ADDs to a dead container finds no namespace.
	if !a.slot.alive && (!o.coin(0) || !o.coin(1) || !o.coin(2)) {
		if err := r.revive(a.slot); err != nil {
			return false, err
		}
	}
	r.model.Lock()
	a.net.adding++
	r.model.Unlock()
	before := r.model.begin(a)
	before.dying = c.meanwhile != nil
	c.verb, c.id, c.netns, c.ifName, c.victim = "ADD", a.slot.id, a.slot.path, a.net.ifName, o.victim()
	out, err := r.perform(a.net, a, c, nil, nil)
	r.model.Lock()
	defer r.model.Unlock()
	a.net.adding--
	a.busy = false
	if err != nil {
		return false, err
	}
	r.note(o, a, "ADD", out)
	r.judgeAdd(o, a, before, out)
	return out.half(), nil
}

// revive gives a slot a namespace. It's the same container's if anything may be left of it, and
// otherwise a new one's.
func (r *runner) revive(s *slot) error {
	if err := r.names.make(s.path); err != nil {
		return err
	}
	r.model.Lock()
	defer r.model.Unlock()
	fresh := true
	for _, a := range s.attachments {
		fresh = fresh && a.state == absent
	}
	if fresh {
		s.renew()
	}
	s.alive = true
	return nil
}

func (r *runner) del(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state != absent },
		func(a *attachment) error { return r.detachOften(o, a, 0) })
}

func (r *runner) killDel(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state == live },
		func(a *attachment) error { return r.detachOften(o, a, o.delay) })
}

// delUnknown is for an attachment that doesn't exist: DEL says nothing.
func (r *runner) delUnknown(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state == absent },
		func(a *attachment) error { return r.detachOften(o, a, 0) })
}

// detachOften runs DEL, and one time in eight once more.
func (r *runner) detachOften(o *op, a *attachment, kill time.Duration) error {
	err := r.detach(o, a, kill)
	if err == nil && o.coin(3) && o.coin(4) && o.coin(5) {
		err = r.detach(o, a, 0)
	}
	return err
}

// detach runs DEL, with and without its optional inputs, and judges it.
func (r *runner) detach(o *op, a *attachment, kill time.Duration) error {
	a.net.collection.RLock()
	defer a.net.collection.RUnlock()
	c := call{verb: "DEL", id: a.slot.id, ifName: a.net.ifName, kill: kill, victim: o.victim()}
	what := "DEL"
	if o.coin(6) || r.plan.FullDel {
		c.netns, what = a.slot.path, what+" with namespace"
	}
	var prev json.RawMessage
	if a.prev != nil && (o.coin(7) || r.plan.FullDel) {
		prev, what = a.prev, what+" with prevResult"
	}
	before := r.model.begin(a)
	out, err := r.perform(a.net, a, c, prev, nil)
	r.model.Lock()
	defer r.model.Unlock()
	a.busy = false
	if err != nil {
		return err
	}
	r.note(o, a, what, out)
	r.judgeDel(o, a, before, out)
	return nil
}

func (r *runner) check(o *op) error {
	return r.on(o, func(a *attachment) bool { return a.state == live },
		func(a *attachment) error { return r.inspect(o, a) })
}

// inspect runs CHECK and judges it.
func (r *runner) inspect(o *op, a *attachment) error {
	a.net.collection.RLock()
	defer a.net.collection.RUnlock()
	before := r.model.begin(a)
	c := call{verb: "CHECK", id: a.slot.id, netns: a.slot.path, ifName: a.net.ifName}
	out, err := r.perform(a.net, a, c, a.prev, nil)
	r.model.Lock()
	defer r.model.Unlock()
	a.busy = false
	if err != nil {
		return err
	}
	r.note(o, a, "CHECK", out)
	r.judgeCheck(o, a, before, out)
	return nil
}
