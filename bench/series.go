// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
)

// Key says what a series has measured.
type Key struct {
	Experiment string
	Axis       string `json:",omitempty"` // what was varied
	At         int    // its value
	Contestant string
	Verb       string // ADD, DEL, or what the experiment calls its event
}

// Series are all samples of one thing.
type Series struct {
	Key
	Samples []Sample
	Spans   []float64 `json:",omitempty"` // of a burst, from the first start to the last end: microseconds, by round
	// Contention is that of one more burst, which isn't timed.
	Contention *Contention `json:",omitempty"`
	// Failed counts what has no sample because it failed, and Reason is the first one's.
	Failed int    `json:",omitempty"`
	Reason string `json:",omitempty"`
}

// Sample is one process, from before it was started until it was waited for; or one event of another kind,
// which has nothing but its time.
type Sample struct {
	Round    int
	Position int // in that round's order
	Micros   float64
	// What wait4 tells of the process and those that it waited for.
	Faults    int64 `json:",omitempty"` // page faults served without I/O
	Major     int64 `json:",omitempty"` // and those with I/O
	CPUMicros int64 `json:",omitempty"`
	RSS       int64 `json:",omitempty"` // peak resident set of the largest one, KiB
	// Of an answer: microseconds since the question, and that it wasn't the first question's, or came too late.
	Waited float64 `json:",omitempty"`
	Lost   bool    `json:",omitempty"`

	start float64 // microseconds of CLOCK_MONOTONIC
}

const (
	verbAdd = "ADD"
	verbDel = "DEL"
)

// Step is a part of one ADD, found in a trace by perf: medians over runs.
type Step struct {
	Contestant, Name string
	At               int     // attachments that were there already
	Start, Micros    float64 // since the process was executed
	Kernel           float64 // of it in system calls of the thread that does the work, in microseconds
	Calls            int
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
}

// series returns the series of a key, made if there's none.
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
	// The latest series is the likeliest, since experiments go on from one to the next.
	for _, s := range slices.Backward(r.Series) {
		if s.Key == k {
			return s
		}
	}
	return nil
}

// times returns the times of a key by round, in microseconds; nil if there's none.
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

// merge takes over what another run has found.
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
}

// distinct returns what f picks of each series, in order and once.
func distinct[T comparable](list []*Series, f func(*Series) T) []T {
	var values []T
	for _, s := range list {
		if v := f(s); !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return values
}

// sort orders series by level and as contestants are listed: they were made in an order that was shuffled.
func (r *results) sort(contestants []Contestant) {
	place := func(s *Series) int {
		return slices.IndexFunc(contestants, func(c Contestant) bool { return c.Name == s.Contestant })
	}
	slices.SortStableFunc(r.Series, func(a, b *Series) int { return cmp.Or(a.At-b.At, place(a)-place(b)) })
}
