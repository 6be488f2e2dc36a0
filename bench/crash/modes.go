// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// try runs a trial on a fresh host.
func (w *worker) try(trial Trial) (Outcome, error) {
	p := w.plugins[trial.Plugin]
	if p == nil {
		return Outcome{}, fmt.Errorf("no plugin is called %q", trial.Plugin)
	}
	k, err := w.knownOf(p)
	if err != nil {
		return Outcome{}, err
	}
	if trial.Mode == modeFail {
		if err := w.runOf(p, k, trial); err != nil {
			return Outcome{}, err
		}
	}
	began := time.Now()
	t, err := w.fresh(p, k, trial)
	if err != nil {
		return Outcome{}, err
	}
	switch trial.Mode {
	case modeRecord:
		err = t.record()
	case modeKill:
		err = t.kill()
	case modeFail:
		err = t.fail()
	case modePower:
		err = t.power()
	case modeLimits:
		err = t.limits()
	case modeCaller:
		err = t.killCaller()
	default:
		err = fmt.Errorf("no mode is called %q", trial.Mode)
	}
	t.close()
	t.Leaks = append(t.Leaks, reap(reapLimit, nil)...)
	t.Micros = time.Since(began).Microseconds()
	return *t.Outcome, errors.Join(err, w.home())
}

// record runs the verb without a disturbance.
func (t *trying) record() error {
	if err := t.begin(); err != nil {
		return err
	}
	tr := &tracer{decide: func(Call) verdict { return verdict{} }}
	a, err := t.disturbed(tr)
	if err != nil {
		return err
	}
	t.Reached = true
	t.Calls = tr.calls
	if t.resident != nil && !t.Trial.Caller && !slices.Contains(t.Calls, Call{"recvmsg", 1}) {
		t.wrong("the resident didn't make the call")
	}
	if !a.ok() {
		if err := a.refusal(); t.Trial.Verb != "GC" || err != nil {
			t.wrong("%s: %v", t.Trial.Verb, a)
		}
		t.Refused = firstLine(a.stdout)
	}
	return t.end()
}

// kill kills the verb at a system call. Then other containers must get addresses of their own, and
// DEL must leave nothing.
func (t *trying) kill() error {
	if err := t.begin(); err != nil {
		return err
	}
	a, err := t.disturbed(&tracer{decide: t.here(verdict{kill: true})})
	if err != nil {
		return err
	}
	return t.afterwards(a)
}

// afterwards notes the victim's real addresses, fills the range, and cleans up.
func (t *trying) afterwards(a answer) error {
	if t.Trial.Verb == "ADD" && a.ok() {
		t.attached(victim, a)
	}
	delete(t.live, victim)
	if t.host.containers[victim] != 0 && !(t.plugin.Asks && t.Trial.Verb == "DEL") {
		addrs, err := t.addressesOf(victim)
		if err != nil {
			return err
		}
		if len(addrs) > 0 {
			t.live[victim] = addrs
		}
	}
	if err := t.attach(successor); err != nil {
		return err
	}
	if _, err := t.fill(); err != nil {
		return err
	}
	return t.end()
}

// fail lets a system call fail. If the verb reports success, it must have done all of its
// undisturbed work. If it reports failure, it must do so as the specification wants it, and an ADD
// leaves nothing, even before DEL.
func (t *trying) fail() error {
	if err := t.begin(); err != nil {
		return err
	}
	a, err := t.disturbed(&tracer{decide: t.here(verdict{errno: t.Trial.Errno})})
	if err != nil {
		return err
	}
	if err := t.judge(a); err != nil {
		return err
	}
	return t.afterwards(a)
}

// isBridges reports whether a line is of a sysctl of the bridge, which may stay after a failed ADD.
func isBridges(line, bridge string) bool {
	return bridge != "" && strings.HasPrefix(line, "host sysctl net.ipv4.conf."+bridge+".")
}

// judge compares a verb's answer with its work.
func (t *trying) judge(a answer) error {
	if t.Crashed || a.crashed() {
		t.Crashed = true
		return nil
	}
	if a.cut() {
		return nil // as after a kill, DEL takes back the remains
	}
	undisturbed := t.known.runs[runKey(t.Trial)]
	t.pause()
	now, err := t.host.take()
	if err != nil {
		return err
	}
	if a.ok() {
		now = now.normal()
		for _, line := range now.less(undisturbed.after) {
			if strings.HasSuffix(line, "/@boot.BOOT.true") {
				continue // without this note less is proven, and nothing depends on it
			}
			if t.repeated() && strings.HasPrefix(line, "nft ") {
				continue // the second DEL takes rules that nobody uses
			}
			t.wrong("%s succeeded without %s", t.Trial.Verb, line)
		}
		for _, line := range undisturbed.after.less(now) {
			t.Leaks = append(t.Leaks, line+" after success")
		}
		return nil
	}
	if err := a.refusal(); err != nil {
		t.wrong("%v", err)
	}
	if t.Trial.Verb != "ADD" {
		return nil
	}
	for line := range t.known.shared {
		undisturbed.before[line] = true
	}
	for _, line := range undisturbed.before.less(now.normal()) {
		if !diesWithContainer(line) && !isBridges(line, t.plugin.Bridge) {
			t.Leaks = append(t.Leaks, line+" after failure, before DEL")
		}
	}
	return nil
}
