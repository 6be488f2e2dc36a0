// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/flock"
	"golang.org/x/sys/unix"
)

// takeLock opens the lock as host-local does, by the same name and mode, and waits for it.
func (s *Store) takeLock(ctx context.Context) error {
	// With O_NONBLOCK it doesn't wait at a FIFO.
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	if !s.readOnly {
		flags |= unix.O_CREAT
	}
	fd, err := openAt(s.fd, lockName, flags, 0o750)
	if err == unix.ENOENT && s.readOnly {
		return nil
	}
	if err != nil {
		return s.pathError("open", lockName, err)
	}
	if err := flock.Lock(ctx, fd); err != nil {
		unix.Close(fd)
		return s.pathError("lock", lockName, err)
	}
	s.lock = fd
	return nil
}
