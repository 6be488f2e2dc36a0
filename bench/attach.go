// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
)

// attach measures ADD and DEL as whole processes, and counts their system calls.
func (m *measurer) attach() error {
	if err := m.rounds(0, true); err != nil {
		return err
	}
	m.Counts = map[string]map[string]Counts{}
	for _, c := range m.Contestants {
		if err := m.count(c); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return nil
}

// Ratio compares two contestants: how many times as long the first one takes.
type Ratio struct {
	Verb, What string
	// P50 and P99 are of the two percentiles. They are unset if they can't be subtracted.
	P50, P99 Estimate `json:",omitzero"`
	Paired   Estimate // median of the rounds' own ratios
}

// attachTimes returns a contestant's times by round; nil if it didn't run.
func (r *Report) attachTimes(name, verb string) []float64 {
	return r.times(Key{Experiment: "attach", Contestant: name, Verb: verb})
}

// ratios are those for which the project has goals.
func (r *Report) ratios() (list []Ratio) {
	for _, verb := range []string{verbAdd, verbDel} {
		for _, base := range []string{swiftcni, floor} {
			for _, c := range r.contestants() {
				name := c.Name
				a, b := r.attachTimes(name, verb), r.attachTimes(base, verb)
				if a == nil || b == nil || name == base || name == floor || isEmpty(name) {
					continue
				}
				list = append(list, Ratio{Verb: verb, What: name + " / " + base,
					P50: ratioOf(a, b, 50, r.Seed), P99: ratioOf(a, b, 99, r.Seed), Paired: pairedRatio(a, b, r.Seed)})
			}
		}
		emptyRuns := [2][]float64{r.attachTimes(emptyGo, verbAdd), r.attachTimes(emptyC, verbAdd)}
		ours, c := r.attachTimes(swiftcni, verb), r.attachTimes(floor, verb)
		if ours != nil && c != nil && emptyRuns[0] != nil && emptyRuns[1] != nil {
			list = append(list, Ratio{Verb: verb, What: "(swiftcni - empty-go) / (floor - empty-c)",
				Paired: netRatio(ours, emptyRuns[0], c, emptyRuns[1], r.Seed)})
		}
	}
	return list
}

func (r *Report) showAttach() section {
	s := section{title: "ADD and DEL as whole processes", tables: []table{r.timesTable("attach"), r.countsTable("attach"), r.footprintTable(), r.ratiosTable()}}
	for _, verb := range []string{verbAdd, verbDel} {
		s.plots = append(s.plots, r.ecdf(verb))
	}
	if r.Counts != nil {
		s.plots = append(s.plots, r.callsPlot(), r.callsByName())
	}
	return s
}

// label calls a program that isn't a plugin just "run".
func label(s *Series) string {
	if isEmpty(s.Contestant) {
		return "run"
	}
	return s.Verb
}

// isEmpty recognizes the programs that attach nothing.
func isEmpty(name string) bool { return name == emptyC || name == emptyGo || name == idle }

// timesTable shows an experiment's times, ADD before DEL.
func (r *Report) timesTable(experiment string) table {
	t := table{head: []string{"ms", "", "p50", "95 % confidence", "p90", "p99", "best", "CPU"}}
	list := r.of(experiment)
	slices.SortStableFunc(list, func(a, b *Series) int { return r.place(a) - r.place(b) })
	for _, s := range list {
		times, middle := s.times(), s.median()
		var cpu []float64
		for _, sample := range s.Samples {
			cpu = append(cpu, float64(sample.CPUMicros))
		}
		t.add(s.Contestant, label(s), millis(middle.Value), millis(middle.Low)+"–"+millis(middle.High),
			millis(percentile(times, 90)), millis(percentile(times, 99)), millis(slices.Min(times)), millis(percentile(cpu, 50)))
	}
	return t
}

// place orders series by verb and then in the order of the contestants.
func (r *Report) place(s *Series) int {
	place := slices.IndexFunc(r.contestants(), func(c Contestant) bool { return c.Name == s.Contestant })
	if s.Verb == verbDel {
		return place + len(r.contestants())
	}
	return place
}

// millis prints microseconds as milliseconds.
func millis(micros float64) string {
	if math.IsNaN(micros) {
		return "–"
	}
	return fmt.Sprintf("%.2f", micros/1e3)
}

func (r *Report) countsTable(experiment string) table {
	t := table{head: []string{"", "", "syscalls", "w/o scheduler", "execs", "nl sends", "nl receives", "tasks", "faults", "with I/O", "peak KiB"}}
	for _, verb := range []string{verbAdd, verbDel} {
		for _, c := range r.contestants(experiment) {
			if n, ok := r.Counts[c.Name][verb]; ok {
				t.add(c.Name, label(&Series{Key: Key{Contestant: c.Name, Verb: verb}}), n.Syscalls, n.Own, n.Execs, n.Sends, n.Receives,
					n.Tasks, n.Faults, n.Major, n.RSS)
			}
		}
	}
	return t
}

func (r *Report) ratiosTable() table {
	t := table{head: []string{"times, with 95 % confidence", "", "p50", "p99", "median of rounds"}}
	for _, ratio := range r.Ratios {
		p50, p99 := "", ""
		if ratio.P50 != (Estimate{}) {
			p50, p99 = ratio.P50.String(), ratio.P99.String()
		}
		t.add(ratio.What, ratio.Verb, p50, p99, ratio.Paired)
	}
	return t
}

func (e Estimate) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", e.Value, e.Low, e.High) }
