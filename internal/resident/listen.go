// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/swiftcni/swiftcni/internal/flock"
	"golang.org/x/sys/unix"
)

// A Listener is a resident's socket.
type Listener struct {
	*net.UnixListener
	path string
	file number // of the socket; zero if it isn't this process's to remove
	// shared is among all residents at this path. systemd starts one after the other has ended, so
	// theirs have none.
	shared *shared
}

// Listen makes a resident's socket at a path, for root alone. One that's there is replaced without
// a moment in which there's none, so that a resident can be followed by another under load: the
// former still answers whoever has connected to it. It's an error if anything else is there, or if
// somebody else than this user could make the socket.
func Listen(path string) (*Listener, error) {
	dir := filepath.Dir(path)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := ownDir(dir); err != nil {
		return nil, err
	}
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s is there and isn't a socket", path)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	next := path + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: next, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the path can be the next resident's by then
	file, err := numberOf(next)
	if err == nil {
		err = os.Chmod(next, 0o600)
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		l.Close()
		return nil, errors.Join(err, os.Remove(next))
	}
	return &Listener{l, path, file, openShared(path + sharedSuffix)}, nil
}

// Inherit is the listener of a socket that another program has made, such as systemd, which also
// removes it.
func Inherit(f *os.File) (*Listener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	u, ok := l.(*net.UnixListener)
	if !ok || u.Addr().Network() != "unixpacket" {
		l.Close()
		return nil, fmt.Errorf("the inherited socket is of %s, want unixpacket (ListenSequentialPacket= of systemd.socket)", l.Addr().Network())
	}
	u.SetUnlinkOnClose(false)
	return &Listener{UnixListener: u}, nil
}

// last is how long somebody may take who has found the socket's file, to connect. Nobody is lost who
// connects to a socket that another program keeps open.
func (l *Listener) last() time.Duration {
	if l.file == (number{}) {
		return 0
	}
	return 50 * time.Millisecond
}

// remove removes the socket's file, unless another resident has replaced it.
func (l *Listener) remove() error {
	if l.file == (number{}) {
		return nil
	}
	unlock, err := lock(filepath.Dir(l.path))
	if err != nil {
		return err
	}
	defer unlock()
	if now, err := numberOf(l.path); err != nil || now != l.file {
		return nil
	}
	return os.Remove(l.path)
}

const sharedSuffix = ".shared"

// forget closes the shared file, and removes it unless another resident is there.
func (l *Listener) forget() {
	if l.shared == nil {
		return
	}
	defer l.shared.close()
	unlock, err := lock(filepath.Dir(l.path))
	if err != nil {
		return
	}
	defer unlock()
	if _, err := os.Lstat(l.path); errors.Is(err, os.ErrNotExist) {
		_ = os.Remove(l.path + sharedSuffix) // an empty file in /run harms nobody
	}
}

// lock locks the directory against other residents that make or remove their socket there.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := flock.Lock(context.Background(), int(f.Fd())); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "flock", Path: dir, Err: err}
	}
	return func() { f.Close() }, nil
}

// ownDir checks that a directory is this user's, and that nobody else can write there.
func ownDir(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("%s isn't a directory", dir)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, want %d", dir, st.Uid, os.Geteuid())
	case st.Mode&0o022 != 0:
		return fmt.Errorf("others can write to %s (mode %04o)", dir, st.Mode&0o7777)
	}
	return nil
}
