// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// tryAll records each plugin's verbs, disturbs them at the recorded calls, and reports.
func tryAll(o options, plugins []Plugin, stderr io.Writer) (*Report, error) {
	p, err := newPool(o.boxes, plugins, stderr)
	if err != nil {
		return nil, err
	}
	defer p.close()
	s := &schedule{options: o, pool: p, report: newReport(plugins), stderr: stderr}
	for i := range plugins {
		for _, mode := range o.modes {
			if !plugins[i].tries(mode) {
				continue
			}
			if err := s.mode(&plugins[i], mode); err != nil {
				return nil, err
			}
		}
	}
	return s.report, nil
}

type schedule struct {
	options
	pool   *pool
	report *Report
	stderr io.Writer
	ids    int
	calls  map[string]*Outcome // recorded runs by plugin, verb and cold
}

// mode does all trials of one mode.
func (s *schedule) mode(p *Plugin, mode string) error {
	var trials []Trial
	for _, verb := range s.verbs {
		more, err := s.trialsOf(p, mode, verb)
		if err != nil {
			return err
		}
		trials = append(trials, more...)
	}
	if !p.Gates && s.sample > 1 {
		var some []Trial
		for i := 0; i < len(trials); i += s.sample {
			some = append(some, trials[i])
		}
		trials = some
	}
	for i := range trials {
		s.ids++
		trials[i].ID = s.ids
	}
	began := time.Now()
	outcomes, err := s.pool.try(trials, s.show)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stderr, "%s: %s: %d trials in %v\n", p.Name, mode, len(trials), time.Since(began).Round(time.Millisecond))
	s.report.add(outcomes)
	return nil
}

// show prints one trial at once, if asked to.
func (s *schedule) show(o *Outcome) {
	if !s.verbose {
		return
	}
	fmt.Fprintf(s.stderr, "%v (%v)\n", o.Trial, time.Duration(o.Micros)*time.Microsecond)
	for _, l := range [][]string{o.Log, o.Leaks, o.Wrong, o.Twice} {
		for _, line := range l {
			fmt.Fprintf(s.stderr, "\t%s\n", strings.TrimSpace(line))
		}
	}
}

// recorded returns a verb's undisturbed run.
func (s *schedule) recorded(t Trial) (*Outcome, error) {
	key := fmt.Sprint(t.Plugin, t.Verb, t.Cold, t.Member, t.Caller)
	if o := s.calls[key]; o != nil {
		return o, nil
	}
	s.ids++
	o, err := s.pool.one(Trial{ID: s.ids, Plugin: t.Plugin, Mode: modeRecord, Verb: t.Verb, Cold: t.Cold, Member: t.Member, Caller: t.Caller})
	if err != nil {
		return nil, err
	}
	if !o.clean() {
		return nil, fmt.Errorf("%v, undisturbed: %s", o.Trial, strings.Join(append(append(o.Wrong, o.Leaks...), o.Twice...), "; "))
	}
	if s.calls == nil {
		s.calls = map[string]*Outcome{}
	}
	s.calls[key] = &o
	return &o, nil
}

// chosen are the calls of a run that are to be disturbed.
func (s *schedule) chosen(o *Outcome) (list []Call) {
	began := s.from.Name == ""
	for _, c := range o.Calls {
		began = began || c == s.from
		if !began || s.only.Name != "" && c != s.only || !s.all && s.only.Name == "" && isRuntime(c.Name) {
			continue
		}
		list = append(list, c)
	}
	return list
}

// trialsOf lists a verb's trials, cold and warm, for each plugin of a list that is to be disturbed.
func (s *schedule) trialsOf(p *Plugin, mode, verb string) (trials []Trial, err error) {
	if p.Verbs != nil && !slices.Contains(p.Verbs, verb) {
		return nil, nil
	}
	for _, place := range p.places() {
		for _, cold := range []bool{true, false} {
			t := Trial{Plugin: p.Name, Mode: mode, Verb: verb, Cold: cold, Member: place}
			more, err := s.trialsAt(p, t)
			if err != nil {
				return nil, err
			}
			trials = append(trials, more...)
			if t.Caller = true; p.Resident == "" || mode != modeFail && mode != modeCaller {
				continue
			}
			if more, err = s.trialsAt(p, t); err != nil {
				return nil, err
			}
			trials = append(trials, more...)
		}
	}
	return trials, nil
}

func (s *schedule) trialsAt(p *Plugin, base Trial) (trials []Trial, err error) {
	run, err := s.recorded(base)
	if err != nil {
		return nil, err
	}
	brief := *s
	brief.quick = s.quick || p.Brief
	s, mode := &brief, base.Mode
	switch mode {
	case modeKill, modeCaller:
		return s.kills(base, run), nil
	case modeFail:
		return s.failures(base, run), nil
	case modePower:
		return s.powerCuts(base, run), nil
	}
	return s.limits(base, p, run), nil
}

func (s *schedule) kills(base Trial, run *Outcome) (trials []Trial) {
	for _, c := range s.chosen(run) {
		base.At, base.Gone = c, false
		trials = append(trials, base)
		if base.Verb != "CHECK" && !(s.quick && (base.Cold || c.Nth%2 == 0)) {
			base.Gone = true
			trials = append(trials, base)
		}
	}
	return trials
}

func (s *schedule) failures(base Trial, run *Outcome) (trials []Trial) {
	for _, c := range s.chosen(run) {
		if isRuntime(c.Name) {
			continue // no runtime survives that
		}
		errnos := errnosOf(c.Name)
		if s.quick && len(errnos) > 1 {
			errnos = errnos[c.Nth%len(errnos):][:1]
		}
		for _, e := range errnos {
			base.At, base.Errno = c, e
			trials = append(trials, base)
		}
	}
	return trials
}

// powerCuts come after each change of a file, with each kind of damage.
func (s *schedule) powerCuts(base Trial, run *Outcome) (trials []Trial) {
	if base.Verb == "CHECK" {
		return nil
	}
	for _, c := range s.chosen(run) {
		if !changesFiles(c.Name) {
			continue
		}
		for i, damage := range damages() {
			if s.quick && i != 0 && i != 1+c.Nth%(len(damages())-1) {
				continue
			}
			base.At, base.Event = c, damage
			trials = append(trials, base)
		}
	}
	return trials
}

// limits are events at each call, and resources that run out during the whole of a verb.
func (s *schedule) limits(base Trial, p *Plugin, run *Outcome) (trials []Trial) {
	if base.Verb == "CHECK" || base.Verb == "GC" {
		return nil
	}
	for i, c := range run.Calls {
		if !slices.Contains(s.chosen(run), c) {
			continue
		}
		for n, event := range []string{eventVanish, eventFlush, eventBridge} {
			if s.quick && n != i%3 {
				continue
			}
			t := base
			t.At, t.Event = c, event
			trials = append(trials, t)
		}
	}
	for event, most := range scarcities() {
		if event == eventMemory && p.Brief {
			// With almost no room to receive, their undo fails as well and says so. It's larger
			// than one plugin's.
			continue
		}
		for n := range most {
			t := base
			t.Event, t.Limit = event, n+1
			trials = append(trials, t)
		}
	}
	if !base.Cold && base.Verb == "ADD" && p.Bridge != "" {
		t := base
		t.Event = eventPorts
		trials = append(trials, t)
	}
	return trials
}
