// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/handover"
)

// residentSetUp starts a resident, and waits until it listens.
const residentSetUp = `set -e
SWIFTCTL serve >/run/resident.log 2>&1 &
echo $! >PIDFILE
until test -S ` + handover.Socket + `; do sleep 0.01; done`

// withResident is a contestant whose plugins' calls a resident makes.
func (b builder) withResident(c Contestant) Contestant {
	c.Resident = filepath.Join("/run", c.Name+".pid")
	start := strings.NewReplacer("SWIFTCTL", b.swiftctlPath(), "PIDFILE", c.Resident).Replace(residentSetUp)
	c.SetUp = strings.TrimPrefix(c.SetUp+"\n", "\n") + start
	return c
}

// showResident lets only processes of the resident's contestant find its socket. The contestants
// share a file system, and the others would have to be sent back.
func (c Contestant) showResident() error {
	from, to := handover.Socket, handover.Socket+".away"
	if c.Resident != "" {
		from, to = to, from
	}
	if err := os.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// cpuClockSched is CPUCLOCK_SCHED of linux/posix-timers_types.h: with the complement of a process ID
// above its three bits it's the clock that clock_getcpuclockid(3) returns.
const cpuClockSched = 2

// residentCPU is the time that a contestant's resident has spent so far.
func (c Contestant) residentCPU() (time.Duration, error) {
	text, err := os.ReadFile(c.Resident)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", c.Resident, err)
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClockSched), &ts); err != nil {
		return 0, fmt.Errorf("CPU time of resident %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// addResidentCPU adds to a sample the time that the contestant's resident has spent since the sample
// before.
func (m *measurer) addResidentCPU(c Contestant, s *Sample) error {
	if c.Resident == "" {
		return nil
	}
	now, err := c.residentCPU()
	if err != nil {
		return err
	}
	s.CPUMicros += (now - m.residentCPU[c.Name]).Microseconds()
	m.residentCPU[c.Name] = now
	return nil
}
