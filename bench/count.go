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
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Counts are the numbers of a verb that hardly vary: medians. Faults and RSS are of the timed runs.
// The others are of a few separate runs under strace.
type Counts struct {
	Syscalls int // all system calls of all its processes and threads
	// Own leaves out the calls of Go's scheduler; see isScheduler.
	Own      int
	Execs    int // programs that were executed after the first
	Sends    int // system calls that send to a netlink socket
	Receives int // system calls that receive from one
	Tasks    int // processes and threads beyond the first
	Faults   int // page faults without I/O
	Major    int // page faults with I/O
	RSS      int // peak resident set of its largest process, KiB
	// Calls are all system calls by name.
	Calls map[string]int `json:",omitempty"`
}

func (m *measurer) count(c Contestant) error {
	runs := map[string][]Counts{}
	for range m.Traced {
		if err := m.trace(c, runs); err != nil {
			return err
		}
	}
	if m.Traced == 0 {
		return nil
	}
	m.Counts[c.Name] = map[string]Counts{}
	for _, verb := range c.verbs() {
		counts := medianCounts(runs[verb])
		if s := m.find(m.key(0, c.Name, verb)); s != nil {
			counts.Faults = medianOf(s.Samples, func(s Sample) int { return int(s.Faults) })
			counts.Major = medianOf(s.Samples, func(s Sample) int { return int(s.Major) })
			counts.RSS = medianOf(s.Samples, func(s Sample) int { return int(s.RSS) })
		}
		m.Counts[c.Name][verb] = counts
	}
	return nil
}

// trace attaches and detaches a container under strace.
func (m *measurer) trace(c Contestant, runs map[string][]Counts) error {
	at, err := m.newContainer(c)
	if err != nil {
		return err
	}
	defer at.remove()
	for _, verb := range c.verbs() {
		counts, err := m.traceVerb(c, at, verb)
		if err != nil {
			return fmt.Errorf("%s under strace: %w", verb, err)
		}
		runs[verb] = append(runs[verb], counts)
		time.Sleep(m.Settle)
	}
	return nil
}

func (m *measurer) traceVerb(c Contestant, at container, verb string) (Counts, error) {
	p, err := newProcess(c, at, verb)
	if err != nil {
		return Counts{}, err
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return Counts{}, err
	}
	dir := m.Traces
	if dir == "" {
		dir = "/run"
	}
	trace, err := os.Create(filepath.Join(dir, c.Name+"."+verb+".strace"))
	if err != nil {
		return Counts{}, err
	}
	defer trace.Close()
	p.argv = append([]string{strace, "-f", "-q", "-yy", "-s", "0", "-o", trace.Name(), "--"}, p.argv...)
	if _, err := p.run(m.Launcher); err != nil {
		return Counts{}, err
	}
	return parseTrace(trace)
}

var (
	callLine = regexp.MustCompile(`^(\d+) +([a-z_0-9]+)\((\d+<NETLINK:)?`)
	execDone = regexp.MustCompile(`^\d+ +(<\.\.\. execve resumed>|execve\().* = 0$`)
)

// isScheduler reports whether a system call belongs to Go's scheduler or collector. Their number
// depends on time: waits, interruptions, and the beginning of threads. Threads themselves are
// counted as tasks. The clock is read by system calls only where the kernel's clock is slow, as in a
// guest.
func isScheduler(call string) bool {
	switch call {
	case "futex", "nanosleep", "clock_nanosleep", "sched_yield", "madvise", "restart_syscall",
		"getpid", "tgkill", "rt_sigreturn", "clock_gettime",
		"clone", "clone3", "gettid", "sigaltstack", "rt_sigprocmask":
		return true
	}
	return false
}

// parseTrace counts the lines that strace wrote. If another call's line interrupts a call, it has
// two lines, of which the first is counted.
func parseTrace(r io.Reader) (Counts, error) {
	counts := Counts{Calls: map[string]int{}}
	tasks := map[string]bool{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if execDone.MatchString(line) {
			counts.Execs++
		}
		call := callLine.FindStringSubmatch(line)
		if call == nil {
			continue
		}
		tasks[call[1]] = true
		counts.Syscalls++
		counts.Calls[call[2]]++
		if !isScheduler(call[2]) {
			counts.Own++
		}
		if call[3] == "" {
			continue
		}
		switch call[2] {
		case "sendto", "sendmsg", "sendmmsg", "write", "writev":
			counts.Sends++
		case "recvfrom", "recvmsg", "recvmmsg", "read", "readv":
			counts.Receives++
		}
	}
	counts.Execs--
	counts.Tasks = len(tasks) - 1
	if counts.Tasks < 0 || counts.Execs < 0 {
		return counts, fmt.Errorf("strace wrote nothing to count: %w", unix.ENODATA)
	}
	return counts, lines.Err()
}

// medianCounts takes the median of each number by itself.
func medianCounts(list []Counts) Counts {
	calls := map[string]int{}
	for _, each := range list {
		for name := range each.Calls {
			calls[name] = medianOf(list, func(c Counts) int { return c.Calls[name] })
		}
	}
	return Counts{
		Calls:    calls,
		Syscalls: medianOf(list, func(c Counts) int { return c.Syscalls }),
		Own:      medianOf(list, func(c Counts) int { return c.Own }),
		Execs:    medianOf(list, func(c Counts) int { return c.Execs }),
		Sends:    medianOf(list, func(c Counts) int { return c.Sends }),
		Receives: medianOf(list, func(c Counts) int { return c.Receives }),
		Tasks:    medianOf(list, func(c Counts) int { return c.Tasks }),
	}
}

// medianOf returns the median of the numbers that f picks, or 0 for an empty list.
func medianOf[T any](list []T, f func(T) int) int {
	if len(list) == 0 {
		return 0
	}
	values := make([]int, len(list))
	for i, each := range list {
		values[i] = f(each)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
