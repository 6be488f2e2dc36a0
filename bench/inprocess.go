// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cni"
)

const (
	verbWarmAdd, verbWarmDel = "attach", "detach"

	client = swiftcni + "-client" // by a cni.Client
)

// An embedder is a way to call package cni, in a program that stays.
type embedder struct {
	name      string
	attach    func(context.Context, *cni.Network, cni.Attachment) (*cni.Result, error)
	detach    func(context.Context, *cni.Network, cni.Attachment) error
	allocated [2]uint64 // by attaching, by detaching
}

// inProcess measures cni.Attach in a warm process beside the floor, which does the same work in C,
// warm too.
func (m *measurer) inProcess() error {
	var network *cni.Network
	var c floorProcess
	var ours, theirs Contestant
	for _, each := range m.Contestants {
		switch each.Name {
		case swiftcni:
			ours = each
			parsed, err := cni.Parse([]byte(each.Config))
			if err != nil {
				return err
			}
			network = parsed
		case floor:
			theirs = each
			if err := c.start(each, m.hosts[each.Name]); err != nil {
				return err
			}
		}
	}
	if network == nil || c.answers == nil {
		return fmt.Errorf("inprocess wants %s and %s", swiftcni, floor)
	}
	var keeps cni.Client
	defer keeps.Close()
	embedders := []*embedder{
		{name: swiftcni, attach: cni.Attach, detach: cni.Detach},
		{name: client, attach: keeps.Attach, detach: keeps.Detach},
	}
	for round := -m.WarmUp; round < m.Rounds; round++ {
		for _, e := range embedders {
			if err := m.attachWarm(network, ours, round, e); err != nil {
				return err
			}
		}
		if err := m.floorWarm(&c, theirs, round); err != nil {
			return err
		}
		m.progress.step(os.Stderr)
	}
	for _, e := range embedders {
		for i, verb := range []string{verbWarmAdd, verbWarmDel} {
			m.Facts = append(m.Facts, Fact{m.Experiment, e.name, "allocations of one " + verb, float64(e.allocated[i]) / float64(m.Rounds)})
		}
	}
	return c.stop()
}

func (m *measurer) attachWarm(network *cni.Network, c Contestant, round int, e *embedder) error {
	at, err := m.newContainer(c)
	if err != nil {
		return err
	}
	defer m.settle(at)
	if err := enter(at.host); err != nil {
		return err
	}
	ctx, a := context.Background(), cni.Attachment{ContainerID: at.id, IfName: "eth0", NetNS: at.netns}
	steps := []struct {
		verb string
		do   func() error
	}{
		{verbWarmAdd, func() error { _, err := e.attach(ctx, network, a); return err }},
		{verbWarmDel, func() error { return e.detach(ctx, network, a) }},
	}
	for i, step := range steps {
		before := mallocs()
		start := time.Now()
		err := step.do()
		elapsed := time.Since(start)
		if err != nil {
			return fmt.Errorf("%s: %w", step.verb, err)
		}
		if round >= 0 {
			e.allocated[i] += mallocs() - before
		}
		m.record(0, round, e.name, step.verb, Sample{Micros: float64(elapsed.Nanoseconds()) / 1e3})
		if round == -m.WarmUp && i == 0 {
			if err := verify(c, at, verbAdd); err != nil {
				return err
			}
			if err := enter(at.host); err != nil {
				return err
			}
		}
		time.Sleep(m.Settle)
	}
	return nil
}

func mallocs() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.Mallocs
}

func (m *measurer) floorWarm(c *floorProcess, contestant Contestant, round int) error {
	at, err := m.newContainer(contestant)
	if err != nil {
		return err
	}
	defer m.settle(at)
	micros, err := c.attach(at)
	if err != nil {
		return err
	}
	m.record(0, round, contestant.Name, verbWarmAdd, Sample{Micros: micros})
	if round == -m.WarmUp {
		if err := enter(at.host); err != nil {
			return err
		}
		if err := verify(contestant, at, verbAdd); err != nil {
			return err
		}
	}
	_, err = m.sample(contestant, at, verbDel, false)
	return err
}

// floorProcess is floor/floor.c as a process that stays.
type floorProcess struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *bufio.Scanner
}

func (f *floorProcess) start(c Contestant, host int) error {
	if err := enter(host); err != nil {
		return err
	}
	f.cmd = exec.Command(c.Plugin, append(c.Args, "warm")...)
	f.cmd.Env = []string{"CNI_IFNAME=eth0", "CNI_PATH=" + filepath.Dir(c.Plugin)}
	f.cmd.Stderr = os.Stderr
	in, err := f.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	f.in, f.answers = in, bufio.NewScanner(out)
	return f.cmd.Start()
}

// attach returns the floor's own time in microseconds.
func (f *floorProcess) attach(at container) (float64, error) {
	if _, err := fmt.Fprintf(f.in, "%s %s\n", at.id, at.netns); err != nil {
		return 0, err
	}
	for f.answers.Scan() {
		if line := f.answers.Text(); !strings.HasPrefix(line, "{") {
			nanos, err := strconv.ParseInt(line, 10, 64)
			return float64(nanos) / 1e3, err
		}
	}
	return 0, fmt.Errorf("the floor ended: %w", f.cmd.Wait())
}

func (f *floorProcess) stop() error {
	if err := f.in.Close(); err != nil {
		return err
	}
	return f.cmd.Wait()
}

func (r *Report) showInProcess() section {
	t := table{head: []string{"µs", "", "p50", "95 % confidence", "p90", "p99", "best"}}
	for _, s := range r.of("inprocess") {
		times, middle := s.times(), s.median()
		t.add(s.Contestant, s.Verb, whole(middle.Value), whole(middle.Low)+"–"+whole(middle.High), whole(percentile(times, 90)),
			whole(percentile(times, 99)), whole(percentile(times, 0)))
	}
	facts := table{head: []string{"", "", ""}}
	for _, f := range r.Facts {
		if f.Experiment == "inprocess" {
			facts.add(f.Contestant, f.What, fmt.Sprintf("%.0f", f.Value))
		}
	}
	theirs := r.times(Key{Experiment: "inprocess", Contestant: floor, Verb: verbWarmAdd})
	for _, name := range []string{swiftcni, client} {
		ours := r.times(Key{Experiment: "inprocess", Contestant: name, Verb: verbWarmAdd})
		if ours != nil && len(ours) == len(theirs) {
			facts.add(name+" / floor", "median of rounds, with 95 % confidence", pairedRatio(ours, theirs, r.Seed))
		}
	}
	return section{title: "From a warm process", text: "Attach as a call in a Go program, without and with a cni.Client, beside the same work in a C program that " +
		"stays: how much of an attachment is the kernel's.", tables: []table{t, facts}}
}

func whole(value float64) string { return fmt.Sprintf("%.0f", value) }
