// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// These are the measurements of first: from the start of ADD to a reply. The first question is
// asked when ADD's process has ended, as by a container that starts then, and again each
// millisecond.
const (
	fromGateway   = "from the gateway"
	fromContainer = "from another container"
	fromOutside   = "from outside"
	reuseGateway  = "reused address, asked by the gateway"
	reusePeer     = "reused address, asked by another container"
)

// outsideSetUp gives a host a router that doesn't know the way back to containers.
const outsideSetUp = `set -e
ip netns add out-NAME
ip link add outside type veth peer name eth0 netns out-NAME
ip -n out-NAME addr add 192.0.2.1/24 dev eth0
ip -n out-NAME link set eth0 up
ip addr add 192.0.2.2/24 dev outside
ip link set outside up
ip route add default via 192.0.2.1`

func (m *measurer) first() error {
	peers := map[string]container{}
	for _, c := range m.Contestants {
		if err := m.shell(c, replaceName(outsideSetUp, c)); err != nil {
			return err
		}
		peer, err := m.newContainer(c)
		if err != nil {
			return err
		}
		if _, err := m.sample(c, peer, verbAdd, true); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		peers[c.Name] = peer
	}
	duals, err := m.dualHosts()
	if err != nil {
		return err
	}
	for round := -m.WarmUp; round < m.Rounds; round++ {
		// Without an announcement there is no reply until the asker's old entry has timed out. A
		// few tries are enough.
		reused := round == 0 || round > 0 && round%10 == 0
		for _, i := range m.random.Perm(len(m.Contestants)) {
			c := m.Contestants[i]
			if err := m.firstOf(c, peers[c.Name], round, reused); err != nil {
				return fmt.Errorf("%s: %w", c.Name, err)
			}
		}
		for _, i := range m.random.Perm(len(duals)) {
			if err := m.answersOf(duals[i], round); err != nil {
				return fmt.Errorf("%s: %w", duals[i].Name, err)
			}
		}
		m.progress.step(os.Stderr)
	}
	return nil
}

func (m *measurer) firstOf(c Contestant, peer container, round int, reused bool) error {
	peerAddress, err := addressOf(peer)
	if err != nil {
		return err
	}
	targets := map[string]netip.Addr{
		fromGateway:   netip.MustParsePrefix(c.Subnet).Addr().Next(),
		fromContainer: peerAddress,
	}
	if c.Rules != nil {
		targets[fromOutside] = netip.MustParseAddr("192.0.2.1")
	}
	for _, what := range sortedKeys(targets) {
		if err := m.firstReply(c, round, what, targets[what]); err != nil {
			return err
		}
	}
	if !reused {
		return nil
	}
	host := container{netns: hostOf(c)}
	if err := m.reuse(c, round, reuseGateway, host); err != nil {
		return err
	}
	return m.reuse(c, round, reusePeer, peer)
}

// firstReply attaches a container and asks from inside.
func (m *measurer) firstReply(c Contestant, round int, what string, target netip.Addr) error {
	at, err := m.newContainer(c)
	if err != nil {
		return err
	}
	defer m.settle(at)
	s, err := m.sampleNow(c, at, verbAdd)
	if err != nil {
		return err
	}
	m.reply(c, round, what, s, at.netns, target, hangs)
	_, err = m.sample(c, at, verbDel, false)
	return err
}

// hangs is the longest wait for a reply that must come.
const hangs = time.Minute

// reply waits for the target's reply and records the time since the process began.
func (m *measurer) reply(c Contestant, round int, what string, adding Sample, netns string, target netip.Addr, patience time.Duration) {
	fd, err := open(netns)
	if err == nil {
		defer unix.Close(fd)
		err = m.ask(fd, target, patience)
	}
	if err != nil {
		m.fail(0, round, c.Name, what, err)
		return
	}
	m.record(0, round, c.Name, verbAdd, Sample{Micros: adding.Micros})
	m.record(0, round, c.Name, what, Sample{Micros: micros() - adding.start})
}

// sampleNow runs a process and returns at once.
func (m *measurer) sampleNow(c Contestant, at container, verb string) (Sample, error) {
	p, err := newProcess(c, at, verb)
	if err != nil {
		return Sample{}, err
	}
	s, err := p.run(m.Launcher)
	if err != nil {
		return s, err
	}
	return s, m.addResidentCPU(c, &s)
}

// reuse gives an address to one container, lets asker ask it, and gives it to another one with
// another MAC right after. It measures the time until that one replies.
func (m *measurer) reuse(c Contestant, round int, what string, asker container) error {
	before, err := m.attachAs(c, 1)
	if err != nil {
		return err
	}
	address, err := addressOf(before)
	if err != nil {
		return err
	}
	defer m.settle(before)
	fd, err := open(asker.netns)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := m.ask(fd, address, hangs); err != nil {
		return fmt.Errorf("the first container at %s: %w", address, err)
	}
	if _, err := m.sampleNow(c, before, verbDel); err != nil {
		return err
	}
	// The pointer goes back by one, so that the same address comes next.
	last := filepath.Join(c.Leases, "last_reserved_ip.0")
	if err := os.WriteFile(last, []byte(address.Prev().String()), 0o600); err != nil {
		return err
	}
	after, err := m.newContainer(c)
	if err != nil {
		return err
	}
	after.env = otherMAC(2)
	defer m.settle(after)
	s, err := m.sampleNow(c, after, verbAdd)
	if err != nil {
		return err
	}
	m.reply(c, round, what, s, asker.netns, address, m.Patience)
	if again, err := addressOf(after); err != nil || again != address {
		return fmt.Errorf("%s was to be given again, but it's %s, %v", address, again, err)
	}
	_, err = m.sample(c, after, verbDel, false)
	return err
}

func (m *measurer) attachAs(c Contestant, mac byte) (container, error) {
	at, err := m.newContainer(c)
	if err != nil {
		return at, err
	}
	at.env = otherMAC(mac)
	_, err = m.sampleNow(c, at, verbAdd)
	return at, err
}

func otherMAC(last byte) []string {
	return []string{fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;MAC=02:00:00:00:00:%02x", last)}
}

func open(netns string) (int, error) { return unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0) }

func micros() float64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // fails only for a bad clock or pointer
	return float64(t.Nano()) / 1e3
}

func (r *Report) showFirst() section {
	t := table{head: []string{"ms", "", "p50", "p90", "p99", "worst", "failed"}}
	for _, s := range r.of("first") {
		if s.Axis != "" { // in both families
			continue
		}
		failed := fmt.Sprint(s.Failed)
		if s.Failed > 0 {
			failed += ": " + s.Reason
		}
		times := s.times()
		t.add(s.Verb, s.Contestant, millis(percentile(times, 50)), millis(percentile(times, 90)), millis(percentile(times, 99)),
			millis(percentile(times, 100)), failed)
	}
	t.sort(0)
	return section{title: "Time to the first reply", text: "From the start of ADD. The container asks as soon as ADD's process has " +
		"ended. An address is reused at once, under another MAC, while the asker still has the old one.\n\n" + answersText,
		tables: []table{t, r.answersTable(), r.dualAddsTable()}}
}

func replaceName(script string, c Contestant) string {
	return strings.ReplaceAll(script, "NAME", c.Name)
}
