// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"time"
)

// These are leases by the reference's host-local, in the directories of ours.

func (r *runner) referenceAdd(o *op) error { return r.guest(o, "ADD", absent, 0) }
func (r *runner) referenceDel(o *op) error { return r.guest(o, "DEL", live, 0) }

// killReference may leave an empty lease.
func (r *runner) killReference(o *op) error {
	if o.coin(8) {
		return r.guest(o, "DEL", live, o.delay)
	}
	return r.guest(o, "ADD", absent, o.delay)
}

// guest finds a guest in a state, or an uncertain one, and runs host-local for it.
func (r *runner) guest(o *op, verb string, in state, kill time.Duration) error {
	for i, at := range o.at {
		n := r.model.networks[at.network]
		if n.ipam == "" {
			continue
		}
		g := n.guests[(int(o.coins>>20)+i)%len(n.guests)]
		if !g.TryLock() {
			continue
		}
		r.model.Lock()
		fits := g.state == in || g.state == uncertain && verb == "DEL"
		r.model.Unlock()
		if !fits {
			g.Unlock()
			continue
		}
		defer g.Unlock()
		return r.lease(o, g, verb, kill)
	}
	r.count(o.name, "nothing to do it to")
	return nil
}

// lease runs host-local for a guest and updates the model.
func (r *runner) lease(o *op, g *guest, verb string, kill time.Duration) error {
	g.net.collection.RLock()
	defer g.net.collection.RUnlock()
	c := call{program: r.plan.HostLocal, verb: verb, id: g.id, netns: "/proc/self/ns/net", ifName: guestIfName,
		config: g.net.input(g.net.conf, nil, nil, nil), kill: kill, env: []string{"CNI_NETNS_OVERRIDE=1"}}
	r.model.Lock()
	g.net.adding++
	r.model.Unlock()
	out, err := r.call(&c)
	r.model.Lock()
	defer r.model.Unlock()
	g.net.adding--
	if err != nil {
		return err
	}
	r.count(o.name, out.short())
	r.judgeGuest(o, g, verb, out)
	return nil
}

func (r *runner) judgeGuest(o *op, g *guest, verb string, out *outcome) {
	subject := text("guest " + g.net.name + "/" + g.id)
	switch {
	case out.hung:
		r.violate(o.number, hangs, subject, verb+" of host-local hangs", nil)
	case out.killed:
		g.state, g.addrs, r.model.guestKilled = uncertain, nil, true
	case verb == "DEL" && out.exit == 0:
		g.state, g.addrs = absent, nil
		g.net.released++
	case verb == "DEL":
		r.violate(o.number, unexpectedError, subject, "DEL: "+out.String(), nil)
	case out.exit == 0:
		var res result
		if err := json.Unmarshal(out.stdout, &res); err != nil {
			r.violate(o.number, badResult, subject, err.Error(), nil)
		}
		g.state, g.addrs = live, nil
		for _, ip := range res.IPs {
			g.addrs = append(g.addrs, ip.Address.Addr())
		}
		r.lookForGuestTwins(o, g)
	}
	// Any other answer of ADD is the reference's own business: a full range, mostly.
}

func (r *runner) lookForGuestTwins(o *op, g *guest) {
	for a := range r.model.all(g.net) {
		for _, addr := range g.addrs {
			if a.state == live && a.firm() && !a.busy && slices.Contains(a.addrs(), addr) {
				r.wrong(o.number, addressTwice, a, "host-local gave %s to %s, too", addr, g.id)
			}
		}
	}
}
