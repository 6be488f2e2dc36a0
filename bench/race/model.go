// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
)

// A state is the model's knowledge of an attachment.
type state int

const (
	// absent means that nothing of it may exist.
	absent state = iota
	// live means that its ADD succeeded, and that all of it must exist, except for its faults.
	live
	// uncertain means that a plugin was killed during its work on it. Anything of it may exist,
	// until a DEL or GC succeeds.
	uncertain
)

// A fault is something that was done to a live attachment.
type fault int

const (
	faultLink   fault = 1 << iota // its link was deleted: it's provably dead
	faultName                     // its host end was renamed
	faultNetNS                    // its container's namespace ended: its link goes soon
	faultBridge                   // its bridge was deleted
	faultRules                    // the ruleset was flushed
)

// deadly are the faults after which its addresses may be given to others.
const deadly = faultLink | faultNetNS

// An attachment is a container's place on a network, in the model. While its slot is locked,
// nothing else but GC works on it.
type attachment struct {
	net  *network
	slot *slot

	// Guarded by the model's lock.
	state
	broken   fault // faults that it certainly has
	doubtful fault // faults that it may have, since it was made while they happened
	// holds says that it's uncertain only because of a killed ADD. The addresses that it has are
	// leased to it.
	holds      bool
	busy       bool   // an operation is at work on it
	generation int    // counts changes of state
	result     result // of the ADD that made it
	prev       json.RawMessage
	host       string // name of its host end; "" if it isn't known
	history    []string
}

// result is the part of an ADD's result that is looked at.
type result struct {
	Interfaces []struct{ Name, Mac, Sandbox string }
	IPs        []struct{ Address netip.Prefix }
	Routes     []struct{ Dst netip.Prefix }
}

// A slot is a place for one container after another.
type slot struct {
	sync.Mutex
	number      int
	path        string // of the namespace
	attachments []*attachment

	// Guarded by the slot's own lock, and for writing by the model's as well.
	generation int
	id         string // of the container
	alive      bool   // its namespace exists
}

// renew gives it to another container.
func (s *slot) renew() {
	s.generation++
	s.id = s.idOf(s.generation)
}

func (s *slot) idOf(generation int) string { return fmt.Sprintf("c%d-%d", s.number, generation) }

// A guest is an owner that leases by the reference's host-local, from the same directory.
type guest struct {
	sync.Mutex
	net *network
	id  string

	// Guarded by the model's lock.
	state
	addrs []netip.Addr
}

const guestIfName = "eth0"

// A disturbance counts an event that happens to many attachments at once.
type disturbance struct{ begun, ended int }

// A mark is a moment in a disturbance's history.
type mark struct {
	begun int
	quiet bool
}

func (d *disturbance) mark() mark { return mark{d.begun, d.begun == d.ended} }

// since reports whether anything happened since a mark, or was under way at it.
func (d *disturbance) since(m mark) bool { return !m.quiet || d.begun != m.begun }

// A model is everything that must hold.
type model struct {
	sync.Mutex
	networks    []*network
	slots       []*slot
	flushed     disturbance // of the ruleset
	guestKilled bool        // the reference may have left an empty lease
}

// guestsPerNetwork is how many owners lease by the reference.
const guestsPerNetwork = 6

func newModel(networks []*network, containers int) *model {
	m := &model{networks: networks}
	for i := range containers {
		s := &slot{number: i, path: fmt.Sprintf("/run/netns/c%d", i)}
		s.renew()
		for _, n := range networks {
			s.attachments = append(s.attachments, &attachment{net: n, slot: s})
		}
		m.slots = append(m.slots, s)
	}
	for _, n := range networks {
		for i := range guestsPerNetwork {
			n.guests = append(n.guests, &guest{net: n, id: fmt.Sprintf("guest%d", i)})
		}
	}
	return m
}

// all ranges over the attachments of a network.
func (m *model) all(n *network) func(yield func(*attachment) bool) {
	return func(yield func(*attachment) bool) {
		for _, s := range m.slots {
			for _, a := range s.attachments {
				if a.net == n && !yield(a) {
					return
				}
			}
		}
	}
}

func (a *attachment) String() string {
	return a.net.name + "/" + a.slot.id + "/" + a.net.ifName
}

// faults are the faults that it has or may have.
func (a *attachment) faults() fault { return a.broken | a.doubtful }

// firm reports whether no other attachment may have its addresses.
func (a *attachment) firm() bool {
	return a.state == live && a.faults()&deadly == 0 || a.state == uncertain && a.holds && a.slot.alive
}

// become changes the state. The knowledge of the old one is forgotten.
func (a *attachment) become(s state) {
	if a.state != absent && s == absent {
		a.net.released++
	}
	a.state, a.broken, a.doubtful, a.holds = s, 0, 0, false
	a.generation++
}

// addrs are the addresses of a live attachment.
func (a *attachment) addrs() (list []netip.Addr) {
	for _, ip := range a.result.IPs {
		list = append(list, ip.Address.Addr())
	}
	return list
}

// remembered bounds an attachment's history.
const remembered = 16

func (a *attachment) remember(line string) {
	a.history = append(a.history, line)
	if len(a.history) > remembered {
		a.history = a.history[1:]
	}
}

// moment is the model's knowledge of an attachment and its surroundings when an operation began.
type moment struct {
	state
	broken, doubtful fault
	generation       int
	alive            bool
	dying            bool // the container may have ended meanwhile
	ruleset, bridge  mark
	bridgeSure       bool
	released         int
	rivals           map[*attachment]rival // that may have its port
}

// begin notes the moment and makes the attachment busy.
func (m *model) begin(a *attachment) moment {
	m.Lock()
	defer m.Unlock()
	a.busy = true
	return moment{
		state: a.state, broken: a.broken, doubtful: a.doubtful, generation: a.generation, alive: a.slot.alive,
		ruleset: m.flushed.mark(), bridge: a.net.bridgeGone.mark(), bridgeSure: a.net.bridgeSure, released: a.net.released,
		rivals: m.rivalry(a),
	}
}

// disturbed are the faults that an attachment may have if it was made since a moment.
func (m *model) disturbed(n *network, since moment) (f fault) {
	if m.flushed.since(since.ruleset) && n.elements() {
		f |= faultRules
	}
	if n.bridgeGone.since(since.bridge) {
		f |= faultBridge
	}
	if since.dying {
		f |= faultNetNS
	}
	return f
}

// mayBeFull reports whether a network may have been without a free address at some time since a
// moment.
func (m *model) mayBeFull(n *network, since moment) bool {
	if n.ipam == "" {
		return false
	}
	held := n.adding + n.released - since.released
	for a := range m.all(n) {
		if a.state == uncertain || a.state == live && a.broken&faultLink == 0 {
			held++
		}
	}
	for _, g := range n.guests {
		if g.state != absent {
			held++
		}
	}
	return held >= n.capacity
}
