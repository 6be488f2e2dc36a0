// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// watched are the system calls that perf traces. Each then costs some 20 µs, and other calls cost
// almost nothing. These are enough to see where each step begins, and include almost all that wait
// for the kernel.
const watched = "execve,read,flock,socket,sendto,sendmsg,recvfrom,recvmsg,setns,write,exit_group"

// mark is the beginning of a step of an ADD: the first such call after the step before it.
type mark struct {
	step  string
	begin *regexp.Regexp
}

// perf leaves out arguments that are zero: standard input, and NETLINK_ROUTE.
func marks() []mark {
	return []mark{
		{"start of the process", regexp.MustCompile(`^execve`)},
		{"configuration, namespaces", regexp.MustCompile(`^read\((fd: 0|buf:)`)},
		{"lease", regexp.MustCompile(`^flock\(`)},
		{"veth, bridge port", regexp.MustCompile(`^(sendto|sendmsg)\(`)},
		{"masquerade", regexp.MustCompile(`^socket\(family: NETLINK, .*protocol: 12`)},
		{"container", regexp.MustCompile(`^setns\(`)},
		{"answer, end", regexp.MustCompile(`^write\(fd: 1[<,]`)},
		{"", regexp.MustCompile(`^exit_group\(`)},
	}
}

// waterfall finds the steps of ADD, on an empty bridge and on a full one.
func (m *measurer) waterfall() error { return m.atLevels(m.steps) }

// steps finds them in run after run, and takes their medians.
func (m *measurer) steps(level int) error {
	runs := map[string][][]Step{}
	for round := -m.WarmUp; round < m.Rounds; round++ {
		for _, i := range m.random.Perm(len(m.Contestants)) {
			c := m.Contestants[i]
			steps, err := m.stepsOf(c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
			if round >= 0 {
				runs[c.Name] = append(runs[c.Name], steps)
			}
		}
		m.progress.step(os.Stderr)
	}
	for _, c := range m.Contestants {
		m.Steps = append(m.Steps, medianSteps(c.Name, level, runs[c.Name])...)
	}
	return nil
}

func (m *measurer) stepsOf(c Contestant) ([]Step, error) {
	at, err := m.newContainer(c)
	if err != nil {
		return nil, err
	}
	defer m.settle(at)
	p, err := newProcess(c, at, verbAdd)
	if err != nil {
		return nil, err
	}
	perf, err := exec.LookPath("perf")
	if err != nil {
		return nil, err
	}
	dir := m.Traces
	if dir == "" {
		dir = "/run"
	}
	trace := filepath.Join(dir, c.Name+".ADD.perf")
	p.argv = append([]string{perf, "trace", "-e", watched, "-o", trace, "--"}, p.argv...)
	if _, err := p.run(m.Launcher); err != nil {
		return nil, err
	}
	time.Sleep(m.Settle)
	if _, err := m.sample(c, at, verbDel, false); err != nil {
		return nil, err
	}
	f, err := os.Open(trace)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSteps(f)
}

// tracedCall is a line of `perf trace`: start in milliseconds, duration where the call has
// returned, and the call.
var tracedCall = regexp.MustCompile(`^ *([0-9.]+) \( *(?:([0-9.]+) ms)?[^)]*\): \S+ +(\.\.\. \[continued\]: )?(.*)$`)

// parseSteps reads perf's trace. A call that another thread's line cuts in two begins with its
// first line, and has the duration of its second one.
func parseSteps(r io.Reader) ([]Step, error) {
	marks := marks()
	steps := []Step{{Name: marks[0].step}}
	next := 1
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		found := tracedCall.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		start, _ := strconv.ParseFloat(found[1], 64)
		duration, _ := strconv.ParseFloat(found[2], 64)
		for i := next; i < len(marks) && found[3] == ""; i++ {
			if marks[i].begin.MatchString(found[4]) {
				last := &steps[len(steps)-1]
				last.Micros = start*1e3 - last.Start
				steps = append(steps, Step{Name: marks[i].step, Start: start * 1e3})
				next = i + 1
				break
			}
		}
		last := &steps[len(steps)-1]
		last.Kernel += duration * 1e3
		if found[3] == "" {
			last.Calls++
		}
	}
	if next != len(marks) {
		return nil, fmt.Errorf("the trace ends before %q: %w", marks[min(next, len(marks)-1)].begin, io.ErrUnexpectedEOF)
	}
	return steps[:len(steps)-1], lines.Err()
}

// medianSteps takes the median of each step by itself and puts them one behind the other.
func medianSteps(contestant string, level int, runs [][]Step) []Step {
	var list []Step
	start := 0.0
	for _, m := range marks() {
		var took, kernel, calls []float64
		for _, steps := range runs {
			for _, s := range steps {
				if s.Name == m.step {
					took, kernel, calls = append(took, s.Micros), append(kernel, s.Kernel), append(calls, float64(s.Calls))
				}
			}
		}
		if took == nil {
			continue
		}
		s := Step{Contestant: contestant, At: level, Name: m.step, Start: start, Micros: percentile(took, 50), Kernel: percentile(kernel, 50),
			Calls: int(percentile(calls, 50))}
		list = append(list, s)
		start += s.Micros
	}
	return list
}

func (r *Report) showWaterfall() section {
	t := table{head: []string{"µs", "attached before", "", "begins", "takes", "of it in calls that were watched", "calls watched"}}
	for _, s := range r.Steps {
		t.add(s.Contestant, s.At, s.Name, whole(s.Start), whole(s.Micros), whole(s.Kernel), s.Calls)
	}
	var plots []figure
	for i, s := range r.Steps {
		if i == 0 || s.At != r.Steps[i-1].At {
			plots = append(plots, r.waterfallPlot(s.At))
		}
	}
	return section{title: "One ADD by step", text: "Medians, found by perf trace, which makes each call that it watches (" +
		strings.ReplaceAll(watched, ",", ", ") + ") some 20 µs slower. Time begins when the program has been executed.",
		tables: []table{t}, plots: plots}
}
