// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A runner runs a plan.
type runner struct {
	plan      Plan
	model     *model
	schedule  *schedule
	names     *namespaces
	residents *residents
	out       io.Writer

	mu       sync.Mutex // guards the fields below
	report   Report
	reported map[string]bool // violations that were counted already
	stopped  atomic.Bool     // a violation ended the run
}

// carryOut runs a plan in the calling process's host.
func carryOut(p Plan, out io.Writer) (*Report, error) {
	if p.Costs > 0 {
		list, err := costs(p, out)
		return &Report{Costs: list}, err
	}
	networks, err := p.networks()
	if err != nil {
		return nil, err
	}
	r := &runner{
		plan: p, model: newModel(networks, p.Containers), schedule: newSchedule(p, networks),
		out: out, reported: map[string]bool{},
	}
	r.report = Report{Seed: p.Seed, Workers: p.Workers, Replay: p.flags(), Counts: map[string]map[string]int{}, Kinds: map[string]int{}}
	if err := writeConfs(networks); err != nil {
		return nil, err
	}
	if r.names, err = startNamespaces(); err != nil {
		return nil, err
	}
	r.residents = &residents{program: p.Resident, problem: func(what, said string) {
		r.violate(r.report.Ops, wrongResident, text(what), said, nil)
	}}
	if err := r.residents.resume(); err != nil {
		return nil, err
	}
	if err := r.run(); err != nil && !errors.Is(err, errViolated) {
		return nil, err
	}
	r.residents.rest()
	r.report.Resided = r.residents.calls.Load()
	return &r.report, nil
}

// run runs all operations, then removes everything.
func (r *runner) run() error {
	started := time.Now()
	for done := 0; done < r.plan.Ops; {
		next := min(done+r.plan.Every, r.plan.Ops)
		if err := r.batch(done, next); err != nil {
			return err
		}
		r.report.Ops = next
		if err := r.pause(next); err != nil {
			return err
		}
		done = next
		elapsed := time.Since(started)
		fmt.Fprintf(r.out, "race: %d of %d operations, %.0f a second, %d attached, %d violations\n",
			done, r.plan.Ops, float64(done)/elapsed.Seconds(), r.attached(), r.report.Violations)
		if r.plan.Duration > 0 && elapsed > r.plan.Duration {
			break
		}
	}
	return r.finish()
}

// batch runs the operations from from up to to, without to, by all workers at once.
func (r *runner) batch(from, to int) error {
	var next atomic.Int64
	next.Store(int64(from))
	failures := make(chan error, r.plan.Workers)
	for range r.plan.Workers {
		go func() {
			for !r.stopped.Load() {
				i := int(next.Add(1) - 1)
				if i >= to {
					break
				}
				o := r.schedule.op(i)
				if err := o.do(r, o); err != nil {
					r.stopped.Store(true)
					failures <- fmt.Errorf("operation %d, %s: %w", i, o.name, err)
					return
				}
			}
			failures <- nil
		}()
	}
	var all error
	for range r.plan.Workers {
		all = errors.Join(all, <-failures)
	}
	if all == nil && r.stopped.Load() {
		return errViolated
	}
	return all
}

func (r *runner) attached() (count int) {
	for _, n := range r.model.networks {
		for a := range r.model.all(n) {
			if a.state == live {
				count++
			}
		}
	}
	r.report.MostAttached = max(r.report.MostAttached, count)
	return count
}

// on finds an attachment that fits among the operation's places, and calls fn with its slot locked.
func (r *runner) on(o *op, fits func(*attachment) bool, fn func(*attachment) error) error {
	for _, at := range o.at {
		s := r.model.slots[at.slot]
		if !s.TryLock() {
			continue
		}
		a := s.attachments[at.network]
		r.model.Lock()
		ok := fits(a)
		r.model.Unlock()
		if ok {
			defer s.Unlock()
			return fn(a)
		}
		s.Unlock()
	}
	r.count(o.name, "nothing to do it to")
	return nil
}

func (r *runner) count(what, how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.report.Counts[what] == nil {
		r.report.Counts[what] = map[string]int{}
	}
	r.report.Counts[what][how]++
}

// note counts an outcome and remembers it. The model is locked.
func (r *runner) note(o *op, a *attachment, what string, out *outcome) {
	r.count(o.name, out.short())
	line := fmt.Sprintf("%d %s: %s → %s (%v)", o.number, o.name, what, out, out.took.Round(10*time.Microsecond))
	a.remember(line)
	if r.plan.Verbose {
		fmt.Fprintln(r.out, a, line)
	}
}

// violate counts a violation, once for each kind and subject, and ends the run unless it's to go
// on.
func (r *runner) violate(number int, kind string, subject fmt.Stringer, what string, history []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := kind + "\x00" + subject.String(); r.reported[key] {
		return
	} else {
		r.reported[key] = true
	}
	r.report.Violations++
	r.report.Kinds[kind]++
	if !r.plan.KeepGoing {
		r.stopped.Store(true)
	}
	if len(r.report.First) < mostTold {
		r.report.First = append(r.report.First, Violation{
			Op: number, Kind: kind, Subject: subject.String(), What: what, History: append([]string(nil), history...),
		})
	}
}

// wrong is a violation by an attachment.
func (r *runner) wrong(number int, kind string, a *attachment, format string, args ...any) {
	r.violate(number, kind, a, fmt.Sprintf(format, args...), a.history)
}

// text is a subject that isn't an attachment.
type text string

func (t text) String() string { return string(t) }
