// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
)

// Report is what a run found out, with all that's needed to judge it and to repeat it.
type Report struct {
	Date      time.Time
	Commit    string
	Kernel    string
	CPU       string
	CPUs      int
	GoVersion string
	Load      string // load average of the machine's last minute, when the run began
	IPTables  string // iptables' version and variant, which the reference executes
	Command   []string
	Method    string

	Seed                   uint64
	Rounds, WarmUp, Traced int
	Settle                 time.Duration

	Contestants []Contestant
	Absent      map[string]string `json:",omitempty"` // contestants that couldn't run, and why
	Samples     map[string]map[string][]Sample
	Counts      map[string]map[string]Counts
	Ratios      []Ratio
}

// Ratio compares two contestants: how many times longer the first one takes.
type Ratio struct {
	Verb, What string
	P50, P99   Estimate `json:",omitzero"` // of the two percentiles; unset where they can't be subtracted
	Paired     Estimate // median of the rounds' own ratios
}

const method = "One contestant at a time, never pinned: the plugin may use every CPU. Time is from before vfork to after wait4, " +
	"taken by a small static program (floor/launch.c), with standard input already in a pipe. Each contestant has a host network namespace of its own, each attachment " +
	"a new container namespace made beforehand; namespaces end together after each round. " +
	"Leases are on tmpfs. Rounds are shuffled; ADD and DEL of a contestant follow each other after a pause."

func newReport(root, load string, p plan, absent map[string]string, r *results) *Report {
	var name unix.Utsname
	_ = unix.Uname(&name) // fails only for a bad pointer
	report := &Report{
		Date: time.Now().UTC().Truncate(time.Second), Commit: builder{root: root}.commit(),
		Kernel: unix.ByteSliceToString(name.Release[:]), CPU: cpuModel(), CPUs: runtime.NumCPU(), Load: load,
		GoVersion: runtime.Version(), IPTables: ipTables(), Method: method,
		Seed: p.Seed, Rounds: p.Rounds, WarmUp: p.WarmUp, Traced: p.Traced, Settle: p.Settle,
		Contestants: p.Contestants, Absent: absent, Samples: r.Samples, Counts: r.Counts,
	}
	report.compare()
	return report
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	averages, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(averages), " ")
	return first
}

func ipTables() string {
	out, err := exec.Command("iptables", "--version").Output()
	if err != nil {
		return "none"
	}
	return strings.TrimSpace(string(out))
}

// times returns a contestant's times by round; nil if it didn't run.
func (r *Report) times(name, verb string) []float64 {
	var times []float64
	for _, s := range r.Samples[name][verb] {
		times = append(times, s.Micros)
	}
	return times
}

// compare makes the ratios that the project's promises are about.
func (r *Report) compare() {
	for _, verb := range []string{verbAdd, verbDel} {
		for _, base := range []string{swiftcni, floor} {
			for _, c := range r.Contestants {
				if c.Attaches && c.Name != base && c.Name != floor {
					r.ratio(verb, c.Name, base)
				}
			}
		}
		emptyRuns := [2][]float64{r.times(emptyGo, verbAdd), r.times(emptyC, verbAdd)}
		ours, c := r.times(swiftcni, verb), r.times(floor, verb)
		if ours != nil && c != nil && emptyRuns[0] != nil && emptyRuns[1] != nil {
			r.Ratios = append(r.Ratios, Ratio{
				Verb: verb, What: "(swiftcni - empty-go) / (floor - empty-c)",
				Paired: netRatio(ours, emptyRuns[0], c, emptyRuns[1], r.Seed),
			})
		}
	}
}

func (r *Report) ratio(verb, name, base string) {
	a, b := r.times(name, verb), r.times(base, verb)
	if a == nil || b == nil {
		return
	}
	r.Ratios = append(r.Ratios, Ratio{
		Verb: verb, What: name + " / " + base,
		P50: ratioOf(a, b, 50, r.Seed), P99: ratioOf(a, b, 99, r.Seed), Paired: pairedRatio(a, b, r.Seed),
	})
}

// write prints the report for people.
func (r *Report) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s, commit %s, Linux %s, %d × %s, %s, %s, load %s, %d rounds, seed %d\n", r.Date.Format("2006-01-02 15:04"),
		r.Commit, r.Kernel, r.CPUs, r.CPU, r.GoVersion, r.IPTables, r.Load, r.Rounds, r.Seed)
	r.writeTimes(w)
	r.writeCounts(w)
	r.writeRatios(w)
	for _, name := range sortedKeys(r.Absent) {
		fmt.Fprintf(w, "\nabsent: %s: %s\n", name, r.Absent[name])
	}
}

// verbs calls f for each contestant's verbs. A program that isn't a plugin has just "run".
func (r *Report) verbs(f func(c Contestant, verb, label string)) {
	for _, verb := range []string{verbAdd, verbDel} {
		for _, c := range r.Contestants {
			switch {
			case c.Attaches:
				f(c, verb, verb)
			case verb == verbAdd:
				f(c, verb, "run")
			}
		}
	}
}

func (r *Report) writeTimes(w io.Writer) {
	table := newTable(w)
	fmt.Fprint(table, "\n\tms\tp50\tp90\tp99\tbest\tCPU\t\n")
	r.verbs(func(c Contestant, verb, label string) {
		times := r.times(c.Name, verb)
		var cpu []float64
		for _, s := range r.Samples[c.Name][verb] {
			cpu = append(cpu, float64(s.CPUMicros))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.Name, label, millis(percentile(times, 50)),
			millis(percentile(times, 90)), millis(percentile(times, 99)), millis(slices.Min(times)),
			millis(percentile(cpu, 50)))
	})
	table.Flush()
}

func millis(micros float64) string { return fmt.Sprintf("%.2f", micros/1e3) }

func (r *Report) writeCounts(w io.Writer) {
	if r.Traced == 0 {
		return
	}
	table := newTable(w)
	fmt.Fprint(table, "\n\t\tsyscalls\tw/o scheduler\texecs\tnl sends\tnl receives\ttasks\tfaults\tpeak KiB\t\n")
	r.verbs(func(c Contestant, verb, label string) {
		n := r.Counts[c.Name][verb]
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", c.Name, label, n.Syscalls, n.Own, n.Execs,
			n.Sends, n.Receives, n.Tasks, n.Faults, n.RSS)
	})
	table.Flush()
}

func (r *Report) writeRatios(w io.Writer) {
	if len(r.Ratios) == 0 {
		return
	}
	table := newTable(w)
	fmt.Fprint(table, "\ntimes, with 95 % confidence\t\tp50\tp99\tmedian of rounds\t\n")
	for _, ratio := range r.Ratios {
		p50, p99 := "", ""
		if ratio.P50 != (Estimate{}) {
			p50, p99 = ratio.P50.String(), ratio.P99.String()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t\n", ratio.What, ratio.Verb, p50, p99, ratio.Paired)
	}
	table.Flush()
}

func (e Estimate) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", e.Value, e.Low, e.High) }

func newTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
