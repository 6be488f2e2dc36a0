// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// known is the undisturbed behaviour of a plugin.
type known struct {
	// shared is everything that stays for good: the things that all attachments share, and that the
	// first one makes.
	shared snapshot
	// size is how many attachments fit into a range, at most maxFill.
	size int
	runs map[string]*course // by verb and temperature
}

// course is an undisturbed verb.
type course struct {
	before, after snapshot // normal ones
}

// knownOf finds out how a plugin behaves, once.
func (w *worker) knownOf(p *Plugin) (*known, error) {
	if k, ok := w.known[p.Name]; ok {
		return k, nil
	}
	k := &known{runs: map[string]*course{}}
	t, err := w.fresh(p, k, Trial{Plugin: p.Name, Mode: modeRecord})
	if err != nil {
		return nil, err
	}
	defer t.close()
	if k.size, err = t.fill(); err != nil {
		return nil, err
	}
	a, err := t.verb("GC", "")
	if err != nil {
		return nil, err
	}
	if !a.ok() && a.refusal() != nil {
		t.wrong("GC: %v", a)
	}
	// The container that wasn't attached goes first: anything that the last one leaves for the next
	// may be left.
	for n := k.size; n >= 0; n-- {
		if err := t.detach(fmt.Sprintf("f%d", n)); err != nil {
			return nil, err
		}
	}
	t.settle()
	if k.size == 0 || !t.clean() {
		return nil, fmt.Errorf("%s doesn't work undisturbed: %s; %s", p.Name, strings.Join(slices.Concat(t.Wrong, t.Twice, t.Leaks), "; "),
			strings.Join(t.Log, "; "))
	}
	k.shared, err = t.host.take()
	w.known[p.Name] = k
	return k, err
}

// fresh is a trial on a host of its own, where nothing has happened yet.
func (w *worker) fresh(p *Plugin, k *known, t Trial) (*trying, error) {
	h, err := newHost(p, t.ID, w.references)
	if err != nil {
		return nil, err
	}
	trying := &trying{Outcome: &Outcome{Trial: t}, plugin: p, host: h, known: k,
		live: map[string][]netip.Addr{}, result: map[string]string{}}
	if err := errors.Join(h.connect(), trying.reside(), trying.serveDHCP()); err != nil {
		trying.close()
		return nil, err
	}
	return trying, nil
}

// runOf finds out how the trial's verb changes a host, undisturbed.
func (w *worker) runOf(p *Plugin, k *known, trial Trial) error {
	key := runKey(trial)
	if k.runs[key] != nil {
		return nil
	}
	t, err := w.fresh(p, k, Trial{Plugin: p.Name, Mode: modeRecord, Verb: trial.Verb, Cold: trial.Cold, Member: trial.Member})
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.begin(); err != nil {
		return err
	}
	var r course
	var before snapshot
	t.begins = func() (err error) {
		before, err = t.host.take()
		return err
	}
	if _, err := t.verb(trial.Verb, victim); err != nil {
		return err
	}
	t.settle()
	after, err := t.host.take()
	if err != nil {
		return err
	}
	r.before, r.after = before.normal(), after.normal()
	k.runs[key] = &r
	return nil
}

func runKey(t Trial) string { return fmt.Sprint(t.Verb, t.Cold, t.Member) }
