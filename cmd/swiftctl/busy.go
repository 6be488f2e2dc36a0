// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// usage is how long the machine's processors have worked so far.
type usage struct {
	busy, all float64 // hundredths of a second, all processors together
	own       time.Duration
}

// readUsage reads it. Without /proc/stat it's nothing.
func readUsage() (u usage) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u
	}
	var n [8]float64 // user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5)
	if _, err := fmt.Sscanf(string(text), "cpu %g %g %g %g %g %g %g %g", &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]); err != nil {
		return u
	}
	for i, v := range n {
		u.all += v
		if i != 3 && i != 4 {
			u.busy += v
		}
	}
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			u.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return u
}

// aBusyMachine is the part of its processors that others take on a machine whose times say little.
const aBusyMachine = 0.2

// busyNote says that the times since then are a busy machine's, or nothing. What this program and those
// that it has started took is no others' work.
func busyNote(since usage) string {
	now := readUsage()
	others := (now.busy - since.busy - (now.own-since.own).Seconds()*100) / (now.all - since.all)
	if now.all == since.all || others <= aBusyMachine {
		return ""
	}
	return fmt.Sprintf("This machine is busy: others took %.0f %% of its processors meanwhile, and the times include the waiting.", others*100)
}
