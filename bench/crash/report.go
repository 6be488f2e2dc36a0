// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// Report is the result of all trials.
type Report struct {
	Command  []string
	Seconds  float64
	Kernel   string
	Plugins  []Plugin
	Outcomes []Outcome
}

func newReport(plugins []Plugin) *Report {
	r := &Report{Plugins: plugins}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return r
}

// add keeps outcomes. The log of a clean trial isn't needed.
func (r *Report) add(outcomes []Outcome) {
	for _, o := range outcomes {
		if o.clean() {
			o.Log = nil
		}
		r.Outcomes = append(r.Outcomes, o)
	}
}

func (r *Report) failures(plugin string) (n int) {
	for i := range r.Outcomes {
		if o := &r.Outcomes[i]; o.Trial.Plugin == plugin && !o.clean() {
			n++
		}
	}
	return n
}

// tally is a cell of the table.
type tally struct{ trials, survived, leaks, wrong, twice, missed, crashed int }

func (t *tally) add(o *Outcome) {
	t.trials++
	if o.clean() {
		t.survived++
	}
	for _, c := range []struct {
		yes bool
		n   *int
	}{{len(o.Leaks) > 0, &t.leaks}, {len(o.Wrong) > 0, &t.wrong}, {len(o.Twice) > 0, &t.twice}, {!o.Reached, &t.missed}, {o.Crashed, &t.crashed}} {
		if c.yes {
			*c.n++
		}
	}
}

// write prints a table, with a row for each mode and verb of each plugin, and then the failures.
func (r *Report) write(w io.Writer) {
	type row struct{ plugin, mode, verb string }
	var rows []row
	cells := map[row]*tally{}
	plugins := map[string]*Plugin{}
	for i := range r.Plugins {
		plugins[r.Plugins[i].Name] = &r.Plugins[i]
	}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		at := row{plugins[o.Trial.Plugin].title(o.Trial.Member), o.Trial.Mode, o.Trial.Verb}
		if cells[at] == nil {
			rows = append(rows, at)
			cells[at] = new(tally)
		}
		cells[at].add(o)
	}
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "plugin\tmode\tverb\ttrials\tclean\tleaks\twrong\ttwice")
	for _, at := range rows {
		c := cells[at]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", at.plugin, at.mode, at.verb, c.trials, c.survived, c.leaks, c.wrong, c.twice)
	}
	tw.Flush()
	for _, p := range r.Plugins {
		r.writeFailures(w, p.Name)
	}
	for _, p := range r.Plugins {
		var all tally
		for i := range r.Outcomes {
			if r.Outcomes[i].Trial.Plugin == p.Name {
				all.add(&r.Outcomes[i])
			}
		}
		fmt.Fprintf(w, "\n%s: %d runs ended before their system call came, and in %d the runtime gave up.", p.Name, all.missed, all.crashed)
	}
	fmt.Fprintf(w, "\nLinux %s, %.0f s. clean: nothing was left and everything held; leaks: something was left after DEL;\n"+
		"wrong: a verb failed that had to succeed, or broke the specification; twice: an address had two owners.\n", r.Kernel, r.Seconds)
}

// shownTrials is how many trials a failure's line names.
const shownTrials = 4

// writeFailures prints each kind of failure once, with its trials.
func (r *Report) writeFailures(w io.Writer, plugin string) {
	trials := map[string][]string{}
	for i := range r.Outcomes {
		o := &r.Outcomes[i]
		if o.Trial.Plugin != plugin {
			continue
		}
		for _, l := range [][]string{o.Leaks, o.Wrong, o.Twice} {
			for _, line := range l {
				line = randomName.ReplaceAllString(line, "veth*")
				trials[line] = append(trials[line], strings.TrimPrefix(o.Trial.String(), plugin+" "))
			}
		}
	}
	if len(trials) == 0 {
		return
	}
	lines := sorted(keys(trials))
	slices.SortStableFunc(lines, func(a, b string) int { return len(trials[b]) - len(trials[a]) })
	fmt.Fprintf(w, "\n%s failed in %d trials:\n", plugin, r.failures(plugin))
	for _, line := range lines {
		at := trials[line]
		more := ""
		if len(at) > shownTrials {
			more = fmt.Sprintf("; and %d more", len(at)-shownTrials)
			at = at[:shownTrials]
		}
		fmt.Fprintf(w, "  %s\n      %s%s\n", line, strings.Join(at, "; "), more)
	}
}

func keys[V any](m map[string]V) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func errnoName(e syscall.Errno) string {
	if name := unix.ErrnoName(e); name != "" {
		return name
	}
	return e.Error()
}
