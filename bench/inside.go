// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/swiftcni/swiftcni/internal/box"
)

// insideVar marks the copy of the program that measures, in the box. It reads a plan and writes results.
const insideVar = "SWIFTCNI_BENCH_INSIDE"

type plan struct {
	Contestants            []Contestant
	Rounds, WarmUp, Traced int
	Seed                   uint64
	Settle                 time.Duration
	Launcher               string // path of floor/launch.c's program
	Traces                 string // directory to keep traces in; empty: none is kept
	Terminal               bool   // progress may rewrite its line
}

// results are samples and counts by contestant and verb.
type results struct {
	Samples map[string]map[string][]Sample
	Counts  map[string]map[string]Counts
}

// Sample is one process, from before it was started until it was waited for.
type Sample struct {
	Round    int
	Position int // in that round's order
	Micros   float64
	// What wait4 tells of the process and those that it waited for.
	Faults    int64 // page faults served without I/O
	CPUMicros int64
	RSS       int64 // peak resident set of the largest one, KiB
}

const (
	verbAdd = "ADD"
	verbDel = "DEL"
)

// startInside runs the plan in the box.
func startInside(b *box.Box, p plan, stderr io.Writer) (*results, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cmd := b.Command(self)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(encoded), stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("measuring: %w", err)
	}
	var r results
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("results: %w", err)
	}
	return &r, nil
}

// insideMain measures, if that's what the process was started for.
func insideMain() {
	if os.Getenv(insideVar) == "" {
		return
	}
	os.Unsetenv(insideVar)
	var p plan
	err := json.NewDecoder(os.Stdin).Decode(&p)
	var r *results
	if err == nil {
		r, err = p.run()
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run measures on one thread, since a thread is what stands in a network namespace.
func (p plan) run() (*results, error) {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // collected between rounds
	m := &measurer{plan: p, hosts: map[string]int{}, results: results{
		Samples: map[string]map[string][]Sample{}, Counts: map[string]map[string]Counts{},
	}}
	if err := m.setUp(); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "measuring %d contestants\n", len(p.Contestants))
	random := rand.New(rand.NewPCG(p.Seed, 0))
	progress := progress{total: p.WarmUp + p.Rounds, terminal: p.Terminal, started: time.Now()}
	for round := -p.WarmUp; round < p.Rounds; round++ {
		order := random.Perm(len(p.Contestants))
		if err := m.round(round, order); err != nil {
			return nil, fmt.Errorf("round %d: %w", round, err)
		}
		progress.step(os.Stderr)
	}
	for _, c := range p.Contestants {
		if err := m.count(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	return &m.results, nil
}

// measurer is the state of a run. Each contestant has a host of its own, which is a network namespace, so
// that nobody pays for another one's links and rules.
type measurer struct {
	plan
	results
	hosts map[string]int // by contestant: the namespace's file descriptor
	ids   int            // containers so far
}

func (m *measurer) setUp() error {
	for _, c := range m.Contestants {
		host := filepath.Join("/run/netns", "host-"+c.Name)
		fd, err := newNetNS(host)
		if err != nil {
			return err
		}
		m.hosts[c.Name] = fd
		m.Samples[c.Name] = map[string][]Sample{}
		m.Counts[c.Name] = map[string]Counts{}
		if err := enter(fd); err != nil {
			return err
		}
		if _, err := output("sh", "-c", "ip link set lo up\n"+c.SetUp); err != nil {
			return fmt.Errorf("set up %s: %w", c.Name, err)
		}
	}
	return nil
}

// round runs every contestant once. Rounds below zero warm up; the first one verifies.
func (m *measurer) round(round int, order []int) error {
	containers := make([]container, len(m.Contestants))
	for _, i := range order {
		c, err := m.newContainer(m.Contestants[i])
		if err != nil {
			return err
		}
		containers[i] = c
	}
	// All end together, so that the kernel's clean-up of namespaces, which holds the lock that every link
	// change needs, falls between rounds.
	defer func() {
		for _, c := range containers {
			c.remove()
		}
		runtime.GC()
		time.Sleep(m.Settle)
	}()
	time.Sleep(m.Settle)
	for position, i := range order {
		c := m.Contestants[i]
		for _, verb := range c.verbs() {
			sample, err := m.sample(c, containers[i], verb, round == -m.WarmUp)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", c.Name, verb, err)
			}
			if round >= 0 {
				sample.Round, sample.Position = round, position
				m.Samples[c.Name][verb] = append(m.Samples[c.Name][verb], sample)
			}
		}
	}
	return nil
}

func (m *measurer) sample(c Contestant, at container, verb string, check bool) (Sample, error) {
	p, err := newProcess(c, at, verb)
	if err != nil {
		return Sample{}, err
	}
	sample, err := p.run(m.Launcher)
	time.Sleep(m.Settle)
	if err == nil && check && c.Attaches {
		err = verify(c, at, verb)
	}
	return sample, err
}

func (c Contestant) verbs() []string {
	if c.Attaches {
		return []string{verbAdd, verbDel}
	}
	return []string{verbAdd}
}

// progress tells how far the run is and how long it will take.
type progress struct {
	done, total int
	terminal    bool
	started     time.Time
}

func (p *progress) step(w io.Writer) {
	p.done++
	elapsed := time.Since(p.started)
	left := elapsed / time.Duration(p.done) * time.Duration(p.total-p.done)
	line := fmt.Sprintf("round %d of %d, %v left", p.done, p.total, left.Round(time.Second))
	switch every := max(p.total/10, 1); {
	case p.terminal && p.done == p.total:
		fmt.Fprintf(w, "\r%-40s\n", line)
	case p.terminal:
		fmt.Fprintf(w, "\r%-40s", line)
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
