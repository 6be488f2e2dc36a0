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
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Contention is how often tasks found the kernel's RTNL mutex taken, and how long they waited for
// it in all.
type Contention struct {
	Waits  int
	Micros float64
}

// watchLocks records the kernel's contended locks on all CPUs during run, and returns RTNL's.
func (m *measurer) watchLocks(run func() error) (c Contention, err error) {
	file := filepath.Join("/run", "locks.perf")
	perf := exec.Command("perf", "record", "-q", "-a", "-g", "-m", "4M", "-e", "lock:contention_begin,lock:contention_end", "-o", file,
		"--control", "fd:3,4")
	control, tell, err := os.Pipe()
	if err != nil {
		return c, err
	}
	defer tell.Close()
	answers, answer, err := os.Pipe()
	if err != nil {
		return c, err
	}
	defer answers.Close()
	perf.ExtraFiles, perf.Stderr = []*os.File{control, answer}, os.Stderr
	perf.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := perf.Start(); err != nil {
		return c, err
	}
	control.Close()
	answer.Close()
	// perf acknowledges a command once it records.
	acknowledged := bufio.NewReader(answers)
	if _, err = io.WriteString(tell, "enable\n"); err == nil {
		_, err = acknowledged.ReadString('\n')
	}
	if err == nil {
		err = run()
	}
	_ = perf.Process.Signal(unix.SIGINT) // it writes its record
	_ = perf.Wait()                      // its status says that it was interrupted
	if err != nil {
		return c, err
	}
	script := exec.Command("perf", "script", "-i", file, "-F", "tid,time,event,trace,ip,sym")
	text, err := script.StdoutPipe()
	if err != nil {
		return c, err
	}
	if err := script.Start(); err != nil {
		return c, err
	}
	if c, err = parseContention(text, m.rtnl); err != nil {
		return c, err
	}
	return c, script.Wait()
}

// contended is the first line of an event, before its stack.
var contended = regexp.MustCompile(`^ *(\d+) +([0-9.]+): +lock:contention_(begin|end): (0x[0-9a-f]+)`)

// rtnlTakers are functions that take no other mutex by themselves (net/core/rtnetlink.c,
// net/core/link_watch.c). The lock has no name in a trace, and its waiters have.
var rtnlTakers = []string{"rtnetlink_rcv_msg", "rtnl_newlink", "rtnl_dellink", "linkwatch_event", "rtnl_lock", "rtnl_lock_killable"}

// parseContention reads events with their stacks, from the innermost frame on. It adds to the known
// addresses of RTNL.
func parseContention(r io.Reader, rtnl map[string]bool) (Contention, error) {
	type waiting struct{ task, lock string }
	begun, waits, micros := map[waiting]float64{}, map[string]int{}, map[string]float64{}
	var lock string // of the event whose stack is being read
	depth := 0
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if found := contended.FindStringSubmatch(line); found != nil {
			at, err := strconv.ParseFloat(found[2], 64)
			if err != nil {
				return Contention{}, fmt.Errorf("%q: %w", line, err)
			}
			lock, depth = found[4], 0
			key := waiting{found[1], lock}
			start, waiting := begun[key]
			switch {
			case found[3] == "begin" && !waiting: // it spins first, then sleeps
				begun[key] = at
			case found[3] == "end" && waiting:
				delete(begun, key)
				waits[lock]++
				micros[lock] += (at - start) * 1e6
			}
			continue
		}
		// The frame before is __mutex_lock.
		if fields := strings.Fields(line); len(fields) == 2 {
			if depth++; depth == 2 && slices.Contains(rtnlTakers, fields[1]) {
				rtnl[lock] = true
			}
		}
	}
	var c Contention
	for lock := range rtnl {
		c.Waits += waits[lock]
		c.Micros += micros[lock]
	}
	return c, lines.Err()
}
