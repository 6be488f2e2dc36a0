// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// insideVar marks the copy of the program that measures, in the box. It reads a plan and writes
// results.
const insideVar = "SWIFTCNI_BENCH_INSIDE"

// plan is the purpose of one box.
type plan struct {
	Experiment             string
	Axis                   string `json:",omitempty"`
	Levels                 []int
	Rounds, WarmUp, Traced int
	Seed                   uint64
	Settle                 time.Duration
	Patience               time.Duration // for a first reply
	Subnet                 string
	Launcher               string // path of floor/launch.c's program
	// Traces is the directory in which traces are kept. If it's empty, none are.
	Traces      string `json:",omitempty"`
	Terminal    bool   // progress may rewrite its line
	Contestants []Contestant
}

// start runs the plan in a box of its own.
func (p plan) start(stderr io.Writer) (*results, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	b, err := box.Start(box.Options{Hostname: "bench"})
	if err != nil {
		return nil, err
	}
	defer b.Close()
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

// insideMain measures, if the process was started for that.
func insideMain() {
	if os.Getenv(insideVar) == "" {
		return
	}
	os.Unsetenv(insideVar)
	carryOut(plan.run)
}

// carryOut does what the plan on standard input says, prints the results, and ends the process.
func carryOut(do func(plan) (*results, error)) {
	var p plan
	err := json.NewDecoder(os.Stdin).Decode(&p)
	var r *results
	if err == nil {
		r, err = do(p)
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

// run measures on one thread, since network namespaces belong to threads.
func (p plan) run() (*results, error) {
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // collected between rounds
	// The box's new /sys hides the files from which perf reads its tracepoints.
	if err := unix.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("mount tracefs: %w", err)
	}
	m := &measurer{plan: p, hosts: map[string]int{}, residentCPU: map[string]time.Duration{}, rtnl: map[string]bool{}, random: rand.New(rand.NewPCG(p.Seed, 0))}
	if err := m.setUp(); err != nil {
		return nil, err
	}
	what := p.Experiment
	if p.Axis != "" {
		what += " by " + p.Axis
	}
	fmt.Fprintf(os.Stderr, "measuring %s of %d contestants\n", what, len(m.Contestants))
	m.progress = progress{what: what, total: len(p.Levels) * (p.WarmUp + p.Rounds), terminal: p.Terminal, started: time.Now()}
	if err := findExperiment(p.Experiment).measure(m); err != nil {
		return nil, err
	}
	return &m.results, nil
}

// measurer is the state of a run. Each contestant has a host of its own, which is a network
// namespace. So no contestant pays for another one's links and rules.
type measurer struct {
	plan
	results
	progress    progress
	random      *rand.Rand
	hosts       map[string]int           // by contestant: the namespace's file descriptor
	ids         int                      // containers so far
	residentCPU map[string]time.Duration // by contestant: what its resident had spent at its last sample
	rtnl        map[string]bool          // addresses in the kernel at which RTNL was seen: one

	questions uint16 // asked so far; a question is identified by its number
}

func (m *measurer) key(level int, contestant, verb string) Key {
	return Key{Experiment: m.Experiment, Axis: m.Axis, At: level, Contestant: contestant, Verb: verb}
}

func (m *measurer) record(level, round int, contestant, verb string, s Sample) {
	if round < 0 {
		return
	}
	s.Round = round
	series := m.series(m.key(level, contestant, verb))
	series.Samples = append(series.Samples, s)
}

// fail records a failed event, which some experiments report.
func (m *measurer) fail(level, round int, contestant, verb string, err error) {
	if round < 0 {
		return
	}
	s := m.series(m.key(level, contestant, verb))
	s.Failed++
	if s.Reason == "" {
		s.Reason = err.Error()
	}
}

func (m *measurer) setUp() error {
	var able []Contestant
	for _, c := range m.Contestants {
		if err := m.newHost(c); err != nil {
			return fmt.Errorf("set up %s: %w", c.Name, err)
		}
		if why, lacking := m.lacks(c); lacking {
			if m.Lacking == nil {
				m.Lacking = map[string]string{}
			}
			m.Lacking[c.Name] = why
			continue
		}
		able = append(able, c)
	}
	m.Contestants = able
	return nil
}

// lacks reports whether the kernel refuses what a contestant needs, and its words.
func (m *measurer) lacks(c Contestant) (why string, lacking bool) {
	if c.Needs == "" {
		return "", false
	}
	why, err := output("sh", "-c", "exec 2>&1\n"+c.Needs)
	return strings.Join(strings.Fields(why), " "), err != nil
}

func (m *measurer) newHost(c Contestant) error {
	fd, err := newNetNS(hostOf(c))
	if err != nil {
		return err
	}
	m.hosts[c.Name] = fd
	return m.shell(c, "ip link set lo up\n"+c.SetUp)
}

func hostOf(c Contestant) string { return filepath.Join("/run/netns", "host-"+c.Name) }

// shell runs commands on a contestant's host.
func (m *measurer) shell(c Contestant, commands string) error {
	if err := enter(m.hosts[c.Name]); err != nil {
		return err
	}
	_, err := output("sh", "-c", commands)
	return err
}

// rounds measures ADD and DEL of all contestants repeatedly, at one level of the axis.
func (m *measurer) rounds(level int, check bool) error {
	for round := -m.WarmUp; round < m.Rounds; round++ {
		if err := m.round(level, round, check && round == -m.WarmUp); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		m.progress.step(os.Stderr)
	}
	return nil
}

// round runs every contestant once. Rounds below zero warm up.
func (m *measurer) round(level, round int, check bool) error {
	order := m.random.Perm(len(m.Contestants))
	containers := make([]container, len(m.Contestants))
	for _, i := range order {
		c, err := m.newContainer(m.Contestants[i])
		if err != nil {
			return err
		}
		containers[i] = c
	}
	// All end together, so that the kernel's clean-up of namespaces, which holds the lock that
	// every link change needs, falls between rounds.
	defer m.settle(containers...)
	time.Sleep(m.Settle)
	for position, i := range order {
		c := m.Contestants[i]
		for _, verb := range c.verbs() {
			sample, err := m.sample(c, containers[i], verb, check)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", c.Name, verb, err)
			}
			sample.Position = position
			m.record(level, round, c.Name, verb, sample)
		}
	}
	return nil
}

// settle ends containers, and gives the kernel and the collector time for their later work.
func (m *measurer) settle(containers ...container) {
	for _, c := range containers {
		c.remove()
	}
	runtime.GC()
	time.Sleep(m.Settle)
}

func (m *measurer) sample(c Contestant, at container, verb string, check bool) (Sample, error) {
	p, err := newProcess(c, at, verb)
	if err != nil {
		return Sample{}, err
	}
	sample, err := p.run(m.Launcher)
	time.Sleep(m.Settle)
	if err == nil {
		err = m.addResidentCPU(c, &sample)
	}
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
