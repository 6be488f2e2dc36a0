// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress shows how far the run is and how long it will take.
type progress struct {
	what        string
	done, total int
	terminal    bool
	started     time.Time
}

func (p *progress) step(w io.Writer) {
	p.done++
	elapsed := time.Since(p.started)
	left := elapsed / time.Duration(p.done) * time.Duration(p.total-p.done)
	line := fmt.Sprintf("%s: round %d of %d, %v left", p.what, p.done, p.total, left.Round(time.Second))
	switch every := max(p.total/10, 1); {
	case p.terminal && p.done == p.total:
		fmt.Fprintf(w, "\r%-60s\n", line)
	case p.terminal:
		fmt.Fprintf(w, "\r%-60s", line)
	case p.done%every == 0:
		fmt.Fprintln(w, line)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// pause excludes the time since then from the estimate.
func (p *progress) pause(since time.Time) { p.started = p.started.Add(time.Since(since)) }
