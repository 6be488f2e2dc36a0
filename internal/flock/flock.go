// SPDX-License-Identifier: Apache-2.0

// Package flock waits for locks of flock(2) no longer than a context allows.
package flock

import (
	"context"

	"golang.org/x/sys/unix"
)

// Lock locks an open file for its holder alone. A lock that's free takes one system call, and is
// taken even if the context has ended: cleaning up is often left to such a context.
//
// The kernel's queue is fair and wakes at once, so that a context that can end is no reason to ask
// again and again. A goroutine waits in the queue, by a descriptor of its own, and gives back what
// it gets if the context ended first.
func Lock(ctx context.Context, fd int) error {
	if ctx.Done() == nil {
		return lock(fd, unix.LOCK_EX)
	}
	if err := lock(fd, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	got := make(chan error)
	go func() {
		defer unix.Close(own)
		err := lock(own, unix.LOCK_EX)
		select {
		case got <- err:
		case <-ctx.Done():
			if err == nil {
				_ = unix.Flock(own, unix.LOCK_UN)
			}
		}
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lock is flock(2), begun again when a signal ends it.
func lock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}
