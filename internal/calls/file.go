// SPDX-License-Identifier: Apache-2.0

package calls

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// head begins the file.
const head = "swiftcni: the last calls, form 2; swiftctl explain --last shows them\n"

// A Writer is the open file.
type Writer struct{ fd int }

// Open opens the file. ok is false if there is none, or none that can be written to. A plugin
// needn't close it: the process is about to end, and so is its descriptor.
func Open() (w Writer, ok bool) {
	const flags = unix.O_WRONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	// unix.Open would allocate a copy of the path.
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, cwd, uintptr(unsafe.Pointer(unsafe.StringData(Path+"\x00"))), flags, 0, 0, 0)
	return Writer{int(fd)}, errno == 0
}

// cwd is AT_FDCWD (linux/fcntl.h), which an absolute path ignores.
const cwd = ^uintptr(99)

// Put writes a call. It reports no error: the call matters more than its record.
func (w Writer) Put(c *Call) {
	var s slot
	s.encode(c)
	_, _ = unix.Pwrite(w.fd, s[:], place(c.Time))
}

// Close closes the file.
func (w Writer) Close() { _ = unix.Close(w.fd) }

// Create makes the file, empty. One that exists stays as it is. Its directory must belong to the
// caller, and nobody else may write to it.
func Create() error {
	if err := os.Mkdir(Dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(Dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: Dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s isn't a directory that only its owner, this user, can write to", Dir)
	}
	if _, err := os.Lstat(Path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The file is whole or absent at any instant.
	f, err := os.OpenFile(Path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(head)
	err = errors.Join(err, f.Truncate((Slots+1)*slotSize), f.Close())
	if err == nil {
		err = os.Rename(Path+".new", Path)
	}
	return err
}

// Remove removes the file, and its directory if that is empty. If they are missing, that is no
// error.
func Remove() error {
	if err := os.Remove(Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(Dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return nil
}

// Load reads the calls in the file, the oldest first. Slots that hold no whole call are left out.
// Errors: fs.ErrNotExist if the file wasn't made, [ErrForm].
func Load() ([]Call, error) {
	f, err := os.OpenFile(Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, (Slots+1)*slotSize))
	if err != nil {
		return nil, err
	}
	return decode(b)
}

// ErrForm says that the file isn't one of calls.
var ErrForm = errors.New(Path + " isn't a file of calls, or one of another version of this program")

func decode(b []byte) (list []Call, _ error) {
	if len(b) < slotSize || string(b[:len(head)]) != head {
		return nil, ErrForm
	}
	for at := slotSize; at+slotSize <= len(b); at += slotSize {
		var c Call
		// A call is at the place of its time, and so in only one slot.
		if s := (*slot)(b[at:]); s.decode(&c) && place(c.Time) == int64(at) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b Call) int { return a.Time.Compare(b.Time) })
	return list, nil
}
