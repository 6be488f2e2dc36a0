// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
)

// Key names the measurement of a series.
type Key struct {
	Experiment string
	Axis       string `json:",omitempty"` // what was varied
	At         int    // its value
	Contestant string
	Verb       string // ADD, DEL, or the experiment's name for its event
}

// Series are all samples of one thing.
type Series struct {
	Key
	Samples []Sample
	// Spans are of a burst, from the first start to the last end, in microseconds, by round.
	Spans []float64 `json:",omitempty"`
	// Contention is that of one more burst, which isn't timed.
	Contention *Contention `json:",omitempty"`
	// Failed counts events without a sample because they failed. Reason is the first one's.
	Failed int    `json:",omitempty"`
	Reason string `json:",omitempty"`
}

// Sample is one process, from before its start until it was waited for. Or it's one event of
// another kind, which has only a time.
type Sample struct {
	Round    int
	Position int // in that round's order
	Micros   float64
	// These come from wait4, for the process and those that it waited for.
	Faults    int64 `json:",omitempty"` // page faults without I/O
	Major     int64 `json:",omitempty"` // page faults with I/O
	CPUMicros int64 `json:",omitempty"`
	RSS       int64 `json:",omitempty"` // peak resident set of the largest one, KiB
	// These are of an answer: the microseconds since the question, and that it wasn't the first
	// question's, or came too late.
	Waited float64 `json:",omitempty"`
	Lost   bool    `json:",omitempty"`

	start float64 // microseconds of CLOCK_MONOTONIC
}

const (
	verbAdd = "ADD"
	verbDel = "DEL"
)

// Step is a part of one ADD, found in a trace by perf. Its times are medians over runs.
type Step struct {
	Contestant, Name string
	At               int     // attachments that existed already
	Start, Micros    float64 // since the process was executed
	// Kernel is the part in system calls of the thread that does the work, in microseconds.
	Kernel float64
	Calls  int
}

// Fact is a figure that isn't a time.
type Fact struct {
	Experiment, Contestant, What string
	Value                        float64
}

// results are what experiments find.
type results struct {
	Series []*Series
	Counts map[string]map[string]Counts `json:",omitempty"` // by contestant and verb
	Steps  []Step                       `json:",omitempty"`
	Facts  []Fact                       `json:",omitempty"`
	// Lacking are contestants that the kernel keeps from running, with its words.
	Lacking map[string]string `json:",omitempty"`
}

// series returns the series of a key. It makes it if there is none.
func (r *results) series(k Key) *Series {
	if s := r.find(k); s != nil {
		return s
	}
	s := &Series{Key: k}
	r.Series = append(r.Series, s)
	return s
}

// find returns the series of a key, or nil.
func (r *results) find(k Key) *Series {
	// The latest series is the likeliest, since experiments measure one after the other.
	for _, s := range slices.Backward(r.Series) {
		if s.Key == k {
			return s
		}
	}
	return nil
}

// times returns the times of a key by round, in microseconds, or nil if there are none.
func (r *results) times(k Key) []float64 {
	s := r.find(k)
	if s == nil {
		return nil
	}
	return s.times()
}

func (s *Series) times() []float64 {
	var times []float64
	for _, sample := range s.Samples {
		times = append(times, sample.Micros)
	}
	return times
}

// of returns an experiment's series in the order in which they were measured.
func (r *results) of(experiment string) []*Series {
	var list []*Series
	for _, s := range r.Series {
		if s.Experiment == experiment {
			list = append(list, s)
		}
	}
	return list
}

// merge adds the results of another run.
func (r *results) merge(other *results) {
	r.Series = append(r.Series, other.Series...)
	r.Steps = append(r.Steps, other.Steps...)
	r.Facts = append(r.Facts, other.Facts...)
	for name, counts := range other.Counts {
		if r.Counts == nil {
			r.Counts = map[string]map[string]Counts{}
		}
		r.Counts[name] = counts
	}
	for name, why := range other.Lacking {
		if r.Lacking == nil {
			r.Lacking = map[string]string{}
		}
		r.Lacking[name] = why
	}
}

// distinct returns the values that f picks of each series, in order and once.
func distinct[T comparable](list []*Series, f func(*Series) T) []T {
	var values []T
	for _, s := range list {
		if v := f(s); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// sort orders series by level and in the order of the contestants. They were made in a shuffled
// order.
func (r *results) sort(contestants []Contestant) {
	place := func(s *Series) int {
		return slices.IndexFunc(contestants, func(c Contestant) bool { return c.Name == s.Contestant })
	}
	slices.SortStableFunc(r.Series, func(a, b *Series) int { return cmp.Or(a.At-b.At, place(a)-place(b)) })
}
