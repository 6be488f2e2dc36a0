// SPDX-License-Identifier: Apache-2.0

package nft

import "cmp"

// A walk follows one packet through the chains of a table. Not all is known of the packet, nor of
// what each condition means, so rules may match, and a walk finds what can come of it: what it
// doesn't find can't happen.
type walk struct {
	steps func(chain string) []step
	known map[place]outcome
}

// likelihood is whether a condition holds, as far as it can be told. The weakest of a rule's is the
// rule's.
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

// action is what a rule does with what it matches.
type action uint8

const (
	goesOn action = iota
	accepts
	drops
	returns
	jumps
	goesTo
	translates // gives it another destination
)

// A step is a rule as the packet meets it.
type step struct {
	match likelihood
	port  bool // one of its conditions is the packet's very port
	does  action
	chain string // that it jumps or goes to; of one that translates, the rule's own name
}

// place is a chain, and whether the packet was led to it for its port.
type place struct {
	chain string
	port  bool
}

// outcome is what can come of a chain.
type outcome struct {
	accepts, returns bool
	translates       string // by which rule, for its port
}

func newWalk(steps func(chain string) []step) *walk {
	return &walk{steps: steps, known: map[place]outcome{}}
}

// chain tells what can come of a chain.
func (w *walk) chain(name string, port bool) outcome {
	at := place{name, port}
	if o, ok := w.known[at]; ok {
		return o
	}
	w.known[at] = outcome{} // no kernel takes a loop, but one that's read while it changes may look like one
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

// step adds what can come of a rule that may match, and reports whether nothing comes behind it if
// it does.
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
