// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Error codes of the specification and of swiftcni.
const (
	codeEnvironment = 4
	codeTryAgain    = 11
	codeLimited     = 51
	codeExhausted   = 100
	codeAttached    = 101
	codePortTaken   = 102
	codeInternal    = 999
)

// Kinds of violations.
const (
	hangs            = "hangs"
	noAnswer         = "no error object"
	unexpectedError  = "unexpected error"
	unexpectedAnswer = "unexpected success"
	badResult        = "wrong result"
	addressTwice     = "address twice"
	ownerless        = "left without an owner"
	notWhole         = "not whole"
	processLeft      = "process left"
	storeDamaged     = "lease store damaged"
	wrongResident    = "wrong with the resident"
)

// An expectation is how a call may end. Being killed isn't such an end.
type expectation struct {
	success bool
	codes   []uint
}

// meet reports a violation unless the outcome is as expected. Of other plugins it only asks for
// success or failure.
func (r *runner) meet(o *op, a *attachment, verb string, e expectation, out *outcome) bool {
	switch {
	case out.hung:
		r.wrong(o.number, hangs, a, "%s took more than %v: %s", verb, processBound, out.stuck)
	case out.killed:
		return true
	case out.exit == 0 && e.success:
		return true
	case out.exit == 0:
		r.wrong(o.number, unexpectedAnswer, a, "%s succeeded, expected code %v", verb, e.codes)
	case out.err == nil:
		r.wrong(o.number, noAnswer, a, "%s: %s", verb, out)
	case slices.Contains(e.codes, out.code()) || r.plan.Foreign && len(e.codes) > 0:
		return true
	default:
		r.wrong(o.number, unexpectedError, a, "%s: %s; expected success %v, codes %v", verb, out, e.success, e.codes)
	}
	return false
}

// expectAdd says how an ADD may end.
func (r *runner) expectAdd(a *attachment, before moment) (e expectation) {
	m := r.model
	if !before.alive {
		return expectation{codes: []uint{codeEnvironment}}
	}
	switch {
	case before.state == absent:
		e.success = true
	case before.state == uncertain, before.doubtful&deadly != 0, before.broken&faultNetNS != 0:
		e.success, e.codes = true, append(e.codes, codeAttached)
	case before.broken&faultLink != 0:
		e.success = true
	default:
		return expectation{codes: []uint{codeAttached}}
	}
	if m.mayBeFull(a.net, before) {
		e.codes = append(e.codes, codeExhausted)
	}
	surely, maybe := m.portTaken(a, before)
	if maybe {
		e.codes = append(e.codes, codePortTaken)
	}
	e.success = e.success && !surely
	if before.dying {
		e.codes = append(e.codes, codeEnvironment, codeInternal)
	}
	if m.disturbed(a.net, before) != 0 {
		e.codes = append(e.codes, codeInternal)
	}
	return e
}

// judgeAdd compares an ADD with the model and updates the model. The model is locked.
func (r *runner) judgeAdd(o *op, a *attachment, before moment, out *outcome) {
	r.meet(o, a, "ADD", r.expectAdd(a, before), out)
	switch {
	case out.exit == 0:
		r.judgeAttached(o, a, before, out)
	case out.half():
		a.become(uncertain)
		a.holds = true
	case !before.alive:
	case !out.killed && !out.hung:
		// A failed ADD leaves nothing of its own, and leaves earlier things untouched. Only what a
		// killed one had may have been taken over, and be gone.
		a.net.released++
		if out.code() != codeAttached {
			a.holds = false
		}
	case before.state == absent:
		a.become(uncertain)
		a.holds = true
	case before.state == live && (before.broken|before.doubtful)&deadly != 0:
		a.become(uncertain)
	}
	if a.state == uncertain && !a.slot.alive {
		a.holds = false
	}
}

// judgeAttached notes a successful ADD.
func (r *runner) judgeAttached(o *op, a *attachment, before moment, out *outcome) {
	m, n := r.model, a.net
	a.become(live)
	a.doubtful = m.disturbed(n, before)
	if !a.slot.alive {
		a.broken |= faultNetNS
	}
	if a.doubtful&faultBridge == 0 {
		n.bridgeSure = true
	}
	a.result, a.prev, a.host = result{}, nil, ""
	if err := json.Unmarshal(out.stdout, &a.result); err != nil {
		r.wrong(o.number, badResult, a, "%v: %s", err, out.stdout)
		return
	}
	a.prev = out.stdout
	for _, i := range a.result.Interfaces {
		if i.Sandbox == "" && i.Name != n.bridge && a.host == "" { // an ifb follows
			a.host = i.Name
		}
	}
	if problem := n.problem(a.result); problem != "" {
		r.wrong(o.number, badResult, a, "%s: %s", problem, out.stdout)
	}
	r.lookForTwins(o, a)
}

// problem returns the error in a result.
func (n *network) problem(res result) string {
	if len(res.IPs) != len(n.subnets) {
		return fmt.Sprintf("%d addresses, expected %d", len(res.IPs), len(n.subnets))
	}
	for i, ip := range res.IPs {
		s := n.subnets[i]
		if ip.Address.Masked() != s.Masked() || ip.Address.Addr() == s.Masked().Addr() || ip.Address.Addr() == s.Masked().Addr().Next() {
			return fmt.Sprintf("%s isn't a container's address of %s", ip.Address, s)
		}
	}
	return ""
}

// lookForTwins finds another attachment with an address of this one.
func (r *runner) lookForTwins(o *op, a *attachment) {
	if !a.firm() {
		// It died while it was being attached, and another container may rightly have its address
		// by now.
		return
	}
	for _, addr := range a.addrs() {
		for b := range r.model.all(a.net) {
			if b != a && b.state == live && b.firm() && !b.busy && slices.Contains(b.addrs(), addr) {
				r.wrong(o.number, addressTwice, a, "%s is %s's, too; its history:\n\t%s", addr, b, lines(b.history))
			}
		}
		for _, g := range a.net.guests {
			if g.state == live && slices.Contains(g.addrs, addr) && g.TryLock() {
				r.wrong(o.number, addressTwice, a, "%s is leased by host-local to %s, too", addr, g.id)
				g.Unlock()
			}
		}
	}
}

// judgeDel compares a DEL with the model and updates the model.
func (r *runner) judgeDel(o *op, a *attachment, before moment, out *outcome) {
	ok := r.meet(o, a, "DEL", expectation{success: true}, out)
	switch {
	case ok && !out.killed:
		a.become(absent)
	case before.state != absent:
		a.become(uncertain)
	}
}

// judgeCheck compares a CHECK with the model.
func (r *runner) judgeCheck(o *op, a *attachment, before moment, out *outcome) {
	if before.state != live {
		return // GC took it while this waited for GC's end
	}
	e := expectation{success: true}
	if before.broken|before.doubtful|a.faults()|r.model.disturbed(a.net, before) != 0 {
		e.codes = []uint{codeInternal, codeEnvironment}
		sure := before.broken
		if !a.net.elements() {
			sure &^= faultRules
		}
		e.success = sure == 0
	}
	r.meet(o, a, "CHECK", e, out)
}
