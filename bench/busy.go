// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// busyVar marks a copy of the program that only keeps a processor busy.
const busyVar = "SWIFTCNI_BENCH_BUSY"

// busyMain is a job that wants a processor for itself and memory that it hasn't touched yet, if the
// process was started for that. It ends when its pipe does, and so with the program that measures.
func busyMain() {
	if os.Getenv(busyVar) == "" {
		return
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0)
	}()
	const size = 4 << 20
	for {
		pages, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: a busy job's memory:", err)
			os.Exit(1)
		}
		for range 16 {
			for i := range pages {
				pages[i]++
			}
		}
		_ = unix.Munmap(pages)
	}
}

// keepBusy starts jobs that keep as many processors busy. end ends them, and fails if one of them
// ended before or never ran: what was measured then wasn't beside it.
func keepBusy(jobs int) (end func() error, err error) {
	var ends []func() error
	end = func() (err error) {
		for _, e := range ends {
			err = errors.Join(err, e())
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	for range jobs {
		cmd := exec.Command(self)
		cmd.Env, cmd.Stderr = append(os.Environ(), busyVar+"=1"), os.Stderr
		in, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("keep a processor busy: %w", err), end())
		}
		ends = append(ends, func() error {
			in.Close()
			if err := cmd.Wait(); err != nil {
				return fmt.Errorf("keep a processor busy: %w", err)
			}
			if cmd.ProcessState.UserTime() == 0 {
				return errors.New("a job that was to keep a processor busy never got one")
			}
			return nil
		})
	}
	return end, nil
}
