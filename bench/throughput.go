// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// oursQueues is swiftcni with as many queues in each direction as there are CPUs, which is a veth's
// default.
const oursQueues = "swiftcni-queues"

// withQueues gives a contestant's containers a number of queues.
func (c Contestant) withQueues(queues int) Contestant {
	c.Config = strings.TrimSuffix(c.Config, "}") + fmt.Sprintf(`,"queues":%d}`, queues)
	return c
}

// A flow is a transfer by iperf3: by one protocol, in one direction.
type flow struct {
	verb string
	args []string
}

// flows are all flows for which queues could matter. The container is iperf3's client, and the host
// its server.
func flows() []flow {
	return []flow{
		{"TCP from the container", nil},
		{"TCP to the container", []string{"-R"}},
		{"UDP from the container", []string{"-u", "-b", "0"}},
		{"UDP to the container", []string{"-u", "-b", "0", "-R"}},
	}
}

// throughput has each contestant's container talk to its host. A sample is the time in which a
// gigabyte arrives.
func (m *measurer) throughput() error {
	containers := map[string]container{}
	for _, c := range m.Contestants {
		at, err := m.newContainer(c)
		if err != nil {
			return err
		}
		if _, err := m.sample(c, at, verbAdd, true); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		containers[c.Name] = at
		server, err := m.serve(c)
		if err != nil {
			return err
		}
		defer server.Wait()         //nolint:errcheck // it has been killed
		defer server.Process.Kill() //nolint:errcheck // it may have ended
	}
	for round := range m.Rounds {
		for _, streams := range m.Levels {
			for _, f := range flows() {
				for _, i := range m.random.Perm(len(m.Contestants)) {
					c := m.Contestants[i]
					if err := m.carry(c, containers[c.Name], f, streams, round); err != nil {
						return fmt.Errorf("%s: %s: %w", c.Name, f.verb, err)
					}
				}
			}
			m.progress.step(os.Stderr)
		}
	}
	return nil
}

// serve starts iperf3's server on a contestant's host and waits until it listens.
func (m *measurer) serve(c Contestant) (*exec.Cmd, error) {
	if err := enter(m.hosts[c.Name]); err != nil {
		return nil, err
	}
	server := exec.Command("iperf3", "-s", "--forceflush")
	said, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	server.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("%w (Debian's package iperf3)", err)
	}
	listening := make(chan error, 1)
	go func() {
		var line [256]byte
		_, err := said.Read(line[:])
		listening <- err
		for err == nil { // otherwise it blocks at a full pipe
			_, err = said.Read(line[:])
		}
	}()
	return server, <-listening
}

// carry is one run of the client.
func (m *measurer) carry(c Contestant, at container, f flow, streams, round int) error {
	fd, err := open(at.netns)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := enter(fd); err != nil {
		return err
	}
	gateway := netip.MustParsePrefix(c.Subnet).Addr().Next().String()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "iperf3", append([]string{"-J", "-t", "1", "-P", strconv.Itoa(streams), "-c", gateway}, f.args...)...).Output()
	var told struct {
		Error string
		End   struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		}
	}
	if jsonErr := json.Unmarshal(out, &told); jsonErr != nil || err != nil || told.Error != "" {
		return errors.Join(err, jsonErr, errors.New(told.Error))
	}
	if told.End.Received.Rate <= 0 {
		return errors.New("nothing arrived")
	}
	m.record(streams, round, c.Name, f.verb, Sample{Micros: 8e9 / told.End.Received.Rate * 1e6})
	return nil
}

// showThroughput shows rates, and compares each with that of containers whose plugin sets no
// queues.
func (r *Report) showThroughput() section {
	t := table{head: []string{"Gbit/s that arrive", "streams", "", "p50", "95 % confidence", "lowest", "of " + oursQueues + "'s"}}
	list := r.of("throughput")
	for _, s := range list {
		middle := s.median()
		other := r.times(Key{Experiment: "throughput", Axis: s.Axis, At: s.At, Contestant: oursQueues, Verb: s.Verb})
		compared := "–"
		if own := s.times(); len(other) == len(own) && s.Contestant != oursQueues {
			compared = pairedRatio(other, own, r.Seed).String()
		}
		t.add(s.Verb, s.At, s.Contestant, gigabits(middle.Value), gigabits(middle.High)+"–"+gigabits(middle.Low),
			gigabits(percentile(s.times(), 100)), compared)
	}
	t.sort(0, 1)
	return section{title: "Throughput and queues", text: fmt.Sprintf("iperf3 between a container and its host, a second for each "+
		"run: with one queue in each direction, as swiftcni makes it; with %d (%s); and as the reference does it, which leaves it "+
		"to the kernel.", r.CPUs, oursQueues), tables: []table{t}}
}

func gigabits(micros float64) string { return fmt.Sprintf("%.2f", 8e6/micros) }
