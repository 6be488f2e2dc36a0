// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// mostTold bounds the violations that a report describes.
const mostTold = 20

// A Report is what a run found.
type Report struct {
	Seed         uint64
	Ops, Workers int
	Took         time.Duration
	Pauses       int    // at which everything was looked at
	MostAttached int    // attachments at a pause
	Resided      int64  `json:",omitempty"` // calls that residents made and finished
	Replay       string // the flags that repeat the run
	// Counts are outcomes by kind of operation.
	Counts map[string]map[string]int
	// Violations counts them, each kind once for each attachment, and Kinds by kind.
	Violations int
	Kinds      map[string]int
	First      []Violation `json:",omitempty"`
	Costs      []Cost      `json:",omitempty"` // nothing else was asked for
}

// A Violation is a state that the model doesn't allow.
type Violation struct {
	Op      int // number of the operation; at a pause, of the next one
	Kind    string
	Subject string
	What    string
	History []string `json:",omitempty"` // of the subject
}

func (r *Report) write(w io.Writer) {
	for _, c := range r.Costs {
		c.write(w)
	}
	if r.Costs != nil {
		return
	}
	fmt.Fprintf(w, "%d operations by %d workers in %v, %d pauses, at most %d attached\n",
		r.Ops, r.Workers, r.Took.Round(time.Second), r.Pauses, r.MostAttached)
	if r.Resided > 0 {
		fmt.Fprintf(w, "%d calls were made by residents\n", r.Resided)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		var how []string
		for _, k := range slices.Sorted(maps.Keys(r.Counts[kind])) {
			how = append(how, fmt.Sprintf("%s %d", k, r.Counts[kind][k]))
		}
		fmt.Fprintf(w, "  %-28s %s\n", kind, strings.Join(how, ", "))
	}
	for _, v := range r.First {
		fmt.Fprintf(w, "VIOLATION at operation %d, seed %d: %s: %s: %s\n", v.Op, r.Seed, v.Kind, v.Subject, v.What)
		if len(v.History) > 0 {
			fmt.Fprintf(w, "\t%s\n", lines(v.History))
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		fmt.Fprintf(w, "%s: %d\n", kind, r.Kinds[kind])
	}
	fmt.Fprintf(w, "%d violations\n", r.Violations)
	if r.Violations > 0 {
		fmt.Fprintf(w, "replay: %s\n", r.Replay)
	}
}

func lines(l []string) string { return strings.Join(l, "\n\t") }
