// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// DefaultDir is host-local's dataDir where a configuration names none.
	DefaultDir = "/var/lib/cni/networks"

	sidecarDir = ".swiftcni"
	lockName   = "lock"
)

// Store is the leases of one network, locked against every other user of them, host-local included.
type Store struct {
	dir       string // of the leases
	network   string
	fd, lock  int // dir and its lock; lock is -1 where there's none to read
	side      int // the sidecar's directory, for paths below it; -1 where there's none
	readOnly  bool
	seen      bool // marked and flags are known
	marked    bool // the sidecar agrees with the leases
	ino       uint64
	flags     markFlags
	last      Record // the record looked up last, whose leases were verified
	hasLast   bool
	reused    bool            // see OtherMACs6
	changed   bool            // the lease directory was changed, and so lost its mark
	trueBoots map[string]bool // by ID, as far as was asked; nil: shared wasn't either
	shared    bool            // see [Record]
	buf       [512]byte       // for what's read; longer things get a buffer of their own
}

// Open makes the network's directory where it's missing and locks it, waiting for others to leave. dir is the
// configuration's dataDir, or "" for [DefaultDir]. Errors are [ErrInvalid] for the names, [*fs.PathError] for
// the rest.
func Open(dir, network string) (*Store, error) { return open(dir, network, openCreate) }

// OpenExisting is [Open] for those who only give back: a directory that doesn't exist is fs.ErrNotExist.
func OpenExisting(dir, network string) (*Store, error) { return open(dir, network, openExisting) }

// OpenReadOnly is [OpenExisting] for those who only look. It makes and changes nothing, so where the sidecar is
// out of date each look-up reads all leases. A directory without a lock, which nobody has used yet, isn't
// locked.
func OpenReadOnly(dir, network string) (*Store, error) { return open(dir, network, openReadOnly) }

type openMode int

const (
	openCreate openMode = iota
	openExisting
	openReadOnly
)

func open(dir, network string, mode openMode) (*Store, error) {
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
	if err := s.takeLock(); err != nil {
		unix.Close(s.fd)
		return nil, err
	}
	// Without it, for whatever reason, the store isn't marked; who needs it then makes it, or learns why not.
	if fd, err := openInside(s.fd, s.sidePath(""), pathFlags, 0); err == nil {
		s.side = fd
	}
	return s, nil
}

// takeLock opens the lock as host-local does, by the same name and mode, and waits for it.
func (s *Store) takeLock() error {
	flags := unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC // so as not to wait at a FIFO
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
	for {
		if err = unix.Flock(fd, unix.LOCK_EX); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return s.pathError("lock", lockName, err)
	}
	s.lock = fd
	return nil
}

// Close gives the lock up. A second Close does nothing.
func (s *Store) Close() error {
	if s.fd < 0 {
		return nil
	}
	var err error
	if s.lock >= 0 {
		// Closing isn't enough: a child that shares the descriptor would go on to hold the lock.
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

// markFlags are what a mark tells besides agreement.
type markFlags int64

const (
	flagOld   markFlags = 1 << iota // some lease has host-local's old form
	flagTaken                       // the bitmap of taken addresses is kept
	flagMACs                        // see [Store.OtherMACs]
	flagEnded                       // see [Store.EndedLately]
	flagBits  = 4
)

// mark is the nanosecond part of the modification time by which the lease directory says that the sidecar
// agrees with it. It depends on the second and on the directory, so that neither a time set by the kernel nor
// a copy of the directory carries it, but for one chance in 62 million. A file system with coarser times
// can't keep it: there each operation reads all leases.
func mark(sec int64, ino uint64, flags markFlags) int64 {
	x := uint64(sec)*0x9e3779b97f4a7c15 ^ ino*0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 29
	return int64(x%(1e9>>flagBits))<<flagBits | int64(flags)
}

// look reads the mark once. Under the lock nobody else changes it.
func (s *Store) look() error {
	if s.seen {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return s.pathError("stat", ".", err)
	}
	s.seen, s.ino = true, st.Ino
	s.flags, s.marked = readMark(&st)
	if s.marked = s.marked && s.side >= 0; !s.marked {
		s.flags = 0
	}
	return nil
}

// readMark returns what a directory's times tell; ok is false where they're no mark.
func readMark(st *unix.Stat_t) (flags markFlags, ok bool) {
	sec, nsec := int64(st.Mtim.Sec), int64(st.Mtim.Nsec)
	flags = markFlags(nsec & (1<<flagBits - 1))
	if nsec != mark(sec, st.Ino, flags) {
		return 0, false
	}
	if flags&flagEnded != 0 && time.Since(time.Unix(st.Ctim.Unix())) > lastingLately {
		flags &^= flagEnded
	}
	return flags, true
}

// EndedLately is [Store.EndedLately] for who has no store open, by one stat(2). An empty dir is [DefaultDir].
func EndedLately(dir, network string) bool {
	if dir == "" {
		dir = DefaultDir
	}
	var st unix.Stat_t
	if !validName(network) || unix.Stat(dir+"/"+network, &st) != nil {
		return false
	}
	flags, _ := readMark(&st)
	return flags&flagEnded != 0
}

// lastingLately is longer than the kernel takes to free the elements of an attachment that has ended.
const lastingLately = 50 * time.Millisecond

// setMark says that the sidecar agrees with the leases, in case it does and a change took the mark away. Who
// isn't allowed to set times works without the mark.
func (s *Store) setMark() {
	if !s.marked || !s.changed {
		return
	}
	s.changed = false
	sec := time.Now().Unix()
	times := []unix.Timespec{
		{Nsec: unix.UTIME_OMIT},
		unix.NsecToTimespec(sec*1e9 + mark(sec, s.ino, s.flags)),
	}
	_ = unix.UtimesNanoAt(s.fd, ".", times, 0)
}

// setFlag changes what the next mark tells.
func (s *Store) setFlag(f markFlags, on bool) {
	flags := s.flags &^ f
	if on {
		flags |= f
	}
	s.changed = s.changed || flags != s.flags
	s.flags = flags
}
