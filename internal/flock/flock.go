// SPDX-License-Identifier: Apache-2.0

// Package flock waits for locks of flock(2) no longer than a context allows.
package flock

import (
	"context"

	"golang.org/x/sys/unix"
)

// Lock locks an open file for its holder alone. A free lock takes one system call, and is taken
// even if the context has ended: cleaning up often happens with such a context.
//
// The kernel's queue is fair and wakes at once, so Lock doesn't poll. A goroutine waits in the
// queue, by a descriptor of its own. If the context ends first, the goroutine gives the lock back
// once it gets it.
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

// Open opens a directory and locks it until the descriptor is closed, for what takes no time. A
// directory that others than its user can open isn't locked, since they could hold everybody up.
func Open(dir string) (fd int, err error) {
	fd, err = unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fd, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(fd, &st); err == nil && st.Mode&0o044 == 0 {
		err = lock(fd, unix.LOCK_EX)
	}
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}

// lock is flock(2). It begins again if a signal ends it.
func lock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}
