// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"time"
)

// burst starts many ADDs at once, and then as many DELs.
func (m *measurer) burst() error {
	for _, level := range m.Levels {
		for round := -m.WarmUp; round < m.Rounds; round++ {
			for _, i := range m.random.Perm(len(m.Contestants)) {
				c := m.Contestants[i]
				if err := m.burstOf(c, level, func(verb string, containers []container) error {
					return m.atOnce(c, level, round, verb, containers)
				}); err != nil {
					return fmt.Errorf("%s, %d at once: %w", c.Name, level, err)
				}
			}
			m.progress.step(os.Stderr)
		}
		for _, c := range m.Contestants {
			if err := m.burstOf(c, level, func(verb string, containers []container) error {
				found, err := m.watchLocks(func() error { return m.atOnce(c, level, -1, verb, containers) })
				m.series(m.key(level, c.Name, verb)).Contention = &found
				return err
			}); err != nil {
				return fmt.Errorf("%s, %d at once, traced: %w", c.Name, level, err)
			}
		}
	}
	return nil
}

// burstOf makes containers and runs each of the contestant's verbs for all of them.
func (m *measurer) burstOf(c Contestant, level int, do func(verb string, containers []container) error) error {
	containers := make([]container, level)
	for i := range containers {
		var err error
		if containers[i], err = m.newContainer(c); err != nil {
			return err
		}
	}
	defer m.settle(containers...)
	for _, verb := range c.verbs() {
		if err := do(verb, containers); err != nil {
			return err
		}
		time.Sleep(m.Settle)
	}
	return nil
}

// atOnce starts a verb for all containers, and opens the gate when all launchers wait at it.
func (m *measurer) atOnce(c Contestant, level, round int, verb string, containers []container) error {
	gate, open, err := os.Pipe()
	if err != nil {
		return err
	}
	defer gate.Close()
	processes, pids := make([]*process, level), make([]int, level)
	for i, at := range containers {
		p, err := newProcess(c, at, verb)
		if err != nil {
			return err
		}
		defer p.close()
		if pids[i], err = p.start(m.Launcher, gate); err != nil {
			return err
		}
		processes[i] = p
	}
	time.Sleep(m.Settle + time.Duration(level)*200*time.Microsecond)
	if err := open.Close(); err != nil {
		return err
	}
	var first, last float64
	for i, p := range processes {
		s, err := p.wait(pids[i])
		if err != nil {
			m.fail(level, round, c.Name, verb, err)
			continue
		}
		s.Position = i
		m.record(level, round, c.Name, verb, s)
		if first == 0 || s.start < first {
			first = s.start
		}
		last = max(last, s.start+s.Micros)
	}
	if round >= 0 && last > first {
		series := m.series(m.key(level, c.Name, verb))
		series.Spans = append(series.Spans, last-first)
	}
	return nil
}

// rate is how many attachments a second the median burst made.
func (s *Series) rate() float64 {
	if len(s.Spans) == 0 {
		return 0
	}
	done := float64(len(s.Samples)) / float64(len(s.Spans))
	return done / percentile(s.Spans, 50) * 1e6
}

func (r *Report) showBurst() section {
	list := r.of("burst")
	t := table{head: []string{"", "", "at once", "a second", "p50 ms", "p99 ms", "failed", "waits for RTNL, each", "ms waited, each"}}
	for _, s := range list {
		failed := fmt.Sprint(s.Failed)
		if s.Failed > 0 {
			failed += ": " + s.Reason
		}
		times := s.times()
		t.add(s.Contestant, s.Verb, s.At, fmt.Sprintf("%.0f", s.rate()), millis(percentile(times, 50)), millis(percentile(times, 99)), failed,
			fmt.Sprintf("%.1f", float64(s.Contention.Waits)/float64(s.At)), millis(s.Contention.Micros/float64(s.At)))
	}
	t.sort(0, 1)
	return section{title: "Many at once", text: "Waits are those of all tasks for the kernel's RTNL mutex, each time that it was found taken, " +
		"divided by the attachments: found by perf in one more burst, and so without time's other figures.", tables: []table{t}, plots: []figure{
		levelPlot("Attachments a second", "at once", "a second", verbOnly(list, verbAdd), true, func(s *Series) Estimate { return exactly(s.rate()) }),
		levelPlot("The slowest of them (p99)", "at once", "ms", verbOnly(list, verbAdd), true, func(s *Series) Estimate {
			return exactly(percentile(s.times(), 99) / 1e3)
		}),
	}}
}

func verbOnly(list []*Series, verb string) (chosen []*Series) {
	for _, s := range list {
		if s.Verb == verb {
			chosen = append(chosen, s)
		}
	}
	return chosen
}
