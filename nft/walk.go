// SPDX-License-Identifier: Apache-2.0

package nft

import "cmp"

// A walk follows one packet through the chains of a table. The packet and the conditions are known
// only in part. So rules may match, and a walk finds all possible outcomes. An outcome that it
// doesn't find can't happen.
type walk struct {
	steps func(chain string) []step
	known map[place]outcome
}

// likelihood is whether a condition holds, as far as that is known. The weakest of a rule's
// conditions is the rule's.
type likelihood uint8

const (
	no likelihood = iota
	maybe
	yes
)

func likely(holds bool) likelihood {
	if holds {
		return yes
	}
	return no
}

// action is what a rule does with the packets that it matches.
type action uint8

const (
	goesOn action = iota
	accepts
	drops
	returns
	jumps
	goesTo
	translates // gives the packet another destination
)

// A step is a rule as the packet meets it.
type step struct {
	match likelihood
	port  bool // one of its conditions is exactly the packet's port
	does  action
	chain string // the chain that it jumps or goes to; for a rule that translates, its own name
}

// place is a chain, and whether the packet was led to it for its port.
type place struct {
	chain string
	port  bool
}

// outcome is what a chain can lead to.
type outcome struct {
	accepts, returns bool
	translates       string // by which rule, for its port
}

func newWalk(steps func(chain string) []step) *walk {
	return &walk{steps: steps, known: map[place]outcome{}}
}

// chain finds the possible outcomes of a chain.
func (w *walk) chain(name string, port bool) outcome {
	at := place{name, port}
	if o, ok := w.known[at]; ok {
		return o
	}
	// No kernel accepts a loop, but rules that are read while they change may look like one.
	w.known[at] = outcome{}
	var o outcome
	ended := false
	for _, s := range w.steps(name) {
		if s.match != no && w.step(s, port || s.port, &o) && s.match == yes {
			ended = true
			break
		}
	}
	o.returns = o.returns || !ended
	w.known[at] = o
	return o
}

// step adds the possible outcomes of a rule that may match. It reports whether a match ends the
// chain.
func (w *walk) step(s step, port bool, o *outcome) (ends bool) {
	switch s.does {
	case accepts:
		o.accepts = true
	case returns:
		o.returns = true
	case translates:
		o.accepts = true
		if port && o.translates == "" {
			o.translates = s.chain
		}
	case jumps, goesTo:
		sub := w.chain(s.chain, port)
		o.accepts, o.translates = o.accepts || sub.accepts, cmp.Or(o.translates, sub.translates)
		if s.does == jumps {
			return !sub.returns
		}
		o.returns = o.returns || sub.returns
	case goesOn:
		return false
	}
	return true
}
