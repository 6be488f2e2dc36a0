// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// DefaultDir is host-local's dataDir if a configuration names none.
	DefaultDir = "/var/lib/cni/networks"

	sidecarDir = ".swiftcni"
	lockName   = "lock"
)

// Store is the leases of one network. It's locked against all other users of them, including
// host-local. Its methods wait for the file system alone. What they return is for reading, since
// the store may use it until it's closed.
//
// The error of a file is an [*fs.PathError]. An owner that can't name a file, and evidence that
// can't be written, are [ErrInvalid]. Each change through a store that was opened for reading is
// [ErrReadOnly].
type Store struct {
	dir       string // of the leases
	network   string
	fd, lock  int // dir and its lock; lock is -1 if there is none to read
	side      int // the sidecar's directory, for paths below it; -1 if there is none
	readOnly  bool
	seen      bool // marked and flags are known
	marked    bool // the sidecar agrees with the leases
	ino       uint64
	flags     markFlags
	last      Record // the record looked up last, whose leases were verified
	hasLast   bool
	reused    bool            // for [History].OtherMACs6
	changed   bool            // the lease directory was changed, and so lost its mark
	trueBoots map[string]bool // by ID, as far as was asked; nil: nor was shared
	shared    bool            // see [Record]
	buf       [512]byte       // for short reads; longer ones get a buffer of their own
}

// Open makes the network's directory if it is missing, and locks it. dir is the configuration's
// dataDir, or "" for [DefaultDir].
//
// Another user of the network's leases may hold the lock, by this package or by host-local. It
// usually does so for a millisecond, and for some 20 while it removes a link. Open waits until the
// lock is free or ctx ends. In the latter case the error wraps ctx's. A context that can't end,
// such as [context.Background], waits for as long as it takes. Other errors are [ErrInvalid] for a
// network's name that can't name a directory, and [*fs.PathError].
func Open(ctx context.Context, dir, network string) (*Store, error) {
	return open(ctx, dir, network, openCreate)
}

// OpenExisting is [Open] for callers that only give back. The error for a directory that doesn't
// exist is fs.ErrNotExist.
func OpenExisting(ctx context.Context, dir, network string) (*Store, error) {
	return open(ctx, dir, network, openExisting)
}

// OpenReadOnly is [OpenExisting] for callers that only look. It makes and changes nothing, so each
// look-up reads all leases if the sidecar is out of date. It locks, and so may wait, as Open does.
// Only a directory without a lock isn't locked: nobody has used it yet.
func OpenReadOnly(ctx context.Context, dir, network string) (*Store, error) {
	return open(ctx, dir, network, openReadOnly)
}

type openMode int

const (
	openCreate openMode = iota
	openExisting
	openReadOnly
)

func open(ctx context.Context, dir, network string, mode openMode) (*Store, error) {
	if dir == "" {
		dir = DefaultDir
	}
	if !validName(network) || len(network) > maxName {
		return nil, invalidError("network name " + strconv.Quote(network) + " can't name a directory")
	}
	s := &Store{
		dir:      dir + "/" + network,
		network:  network,
		lock:     -1,
		side:     -1,
		readOnly: mode == openReadOnly,
	}
	var err error
	s.fd, err = openAt(unix.AT_FDCWD, s.dir, dirFlags, 0)
	if err == unix.ENOENT && mode == openCreate {
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			return nil, err
		}
		s.fd, err = openAt(unix.AT_FDCWD, s.dir, dirFlags, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: s.dir, Err: err}
	}
	if err := s.takeLock(ctx); err != nil {
		unix.Close(s.fd)
		return nil, err
	}
	// Without it, for whatever reason, the store isn't marked. A change then makes it, or learns
	// why it can't.
	if fd, err := openInside(s.fd, s.sidePath(""), pathFlags, 0); err == nil {
		s.side = fd
	}
	return s, nil
}

// Close unlocks. A second Close does nothing.
func (s *Store) Close() error {
	if s.fd < 0 {
		return nil
	}
	var err error
	if s.lock >= 0 {
		// Closing isn't enough: a child that shares the descriptor would still hold the lock.
		_ = unix.Flock(s.lock, unix.LOCK_UN)
		err = unix.Close(s.lock)
	}
	if s.side >= 0 {
		unix.Close(s.side)
	}
	err = errors.Join(err, unix.Close(s.fd))
	s.fd, s.lock, s.side = -1, -1, -1
	return err
}
