// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"golang.org/x/sys/unix"
)

// Where the socket should be there may be anything. The plugin then does the work itself, at once,
// and tells nobody of it.
func TestNobodyAtTheSocket(t *testing.T) {
	for _, test := range []struct {
		name string
		make func() (listening int, err error)
	}{
		{"nothing", func() (int, error) { return -1, nil }},
		{"a directory", func() (int, error) { return -1, os.Mkdir(handover.Socket, 0o700) }},
		{"a file", func() (int, error) { return -1, os.WriteFile(handover.Socket, []byte("x"), 0o700) }},
		{"a FIFO", func() (int, error) { return -1, unix.Mkfifo(handover.Socket, 0o600) }},
		{"a link to nothing", func() (int, error) { return -1, os.Symlink("nowhere", handover.Socket) }},
		{"a link to itself", func() (int, error) { return -1, os.Symlink("resident", handover.Socket) }},
		{"a socket that nobody listens at", func() (int, error) { return socketAt(unix.SOCK_SEQPACKET, handover.Socket) }},
		{"a stream's socket", func() (int, error) { return listeningAt(unix.SOCK_STREAM, 8, 0) }},
		{"a datagrams' socket", func() (int, error) { return socketAt(unix.SOCK_DGRAM, handover.Socket) }},
		{"a user's socket", func() (int, error) { return listeningAt(unix.SOCK_SEQPACKET, 8, nobody) }},
		{"a link to a user's socket", func() (int, error) {
			fd, err := listeningAt(unix.SOCK_SEQPACKET, 8, nobody)
			return fd, errors.Join(err, os.Rename(handover.Socket, "/run/elsewhere"), os.Symlink("/run/elsewhere", handover.Socket))
		}},
		{"one that accepts nobody", func() (int, error) {
			fd, err := listeningAt(unix.SOCK_SEQPACKET, 0, 0)
			if err == nil {
				err = fillQueue()
			}
			return fd, err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			if err := w.netns("c1"); err != nil {
				t.Fatal(err)
			}
			listening := -1
			if err := w.do("", func() (err error) {
				if err := os.Mkdir(filepath.Dir(handover.Socket), 0o700); err != nil {
					return err
				}
				listening, err = test.make()
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if listening >= 0 {
				defer unix.Close(listening)
			}
			for _, verb := range []string{"ADD", "DEL"} {
				if a, err := w.run(bridgeCall(verb, "c1")); err != nil || a.status != 0 {
					t.Errorf("%s: %v, %d %s", verb, err, a.status, a.stdout)
				}
			}
			if said := wasSaid(listening); said != "" {
				t.Errorf("the socket heard %q", said)
			}
			w.finish()
		})
	}
}

// nobody is a user who isn't root.
const nobody = 65534

// socketAt makes a socket at a path.
func socketAt(kind int, path string) (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// listeningAt has a user listen at the socket's path. A socket's owner is whoever listens.
func listeningAt(kind, backlog, uid int) (int, error) {
	fd, err := socketAt(kind, handover.Socket)
	if err != nil {
		return -1, err
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its user
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), 0); errno != 0 {
			done <- errno
			return
		}
		done <- unix.Listen(fd, backlog)
	}()
	if err := <-done; err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen as %d: %w", uid, err)
	}
	return fd, unix.SetNonblock(fd, true)
}

// fillQueue makes connections that nobody accepts, until the kernel has no place for one more.
func fillQueue() error {
	for range 16 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: handover.Socket}); err {
		case nil:
		case unix.EAGAIN:
			return nil
		default:
			return err
		}
	}
	return errors.New("the queue doesn't fill")
}

// wasSaid accepts whoever has connected, and returns what was sent.
func wasSaid(listening int) string {
	var all []byte
	for listening >= 0 {
		fd, _, err := unix.Accept4(listening, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			break
		}
		b := make([]byte, 1024)
		if n, _ := unix.Read(fd, b); n > 0 {
			all = append(all, b[:n]...)
		}
		unix.Close(fd)
	}
	return string(all)
}

// Ten thousand that connect and say nothing keep no other call from its end: it's made by the
// resident, or by its own process.
func TestResidentIsFlooded(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.reside()
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	stop, over, full := make(chan struct{}), make(chan error, 1), make(chan struct{})
	go func() { over <- w.do("", func() error { return flood(stop, full) }) }()
	<-full
	for range 5 {
		for _, verb := range []string{"ADD", "DEL"} {
			if a, err := w.run(bridgeCall(verb, "c1")); err != nil || a.status != 0 {
				t.Errorf("%s: %v, %d %s", verb, err, a.status, a.stdout)
			}
		}
	}
	close(stop)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	// Afterwards it makes calls as ever, once the silent ones have had their time.
	before := len(r.said())
	for deadline := time.Now().Add(time.Minute); len(r.said()) == before; {
		if a, err := w.run(bridgeCall("VERSION", "c1")); err != nil || a.status != 0 {
			t.Fatalf("VERSION: %v, %d %s", err, a.status, a.stdout)
		}
		if time.Now().After(deadline) {
			t.Fatal("the resident makes no calls any more")
		}
	}
	w.finish()
}

// flood connects until it's stopped, and at least ten thousand times. More than a resident serves at
// once stay, and full is closed when these are there. Nothing is ever sent.
func flood(stop <-chan struct{}, full chan<- struct{}) error {
	var kept []net.Conn
	defer func() {
		for _, conn := range kept {
			conn.Close()
		}
	}()
	for n := 0; ; n++ {
		if n >= 10_000 {
			select {
			case <-stop:
				return nil
			default:
			}
		}
		conn, err := net.Dial("unixpacket", handover.Socket)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return err
		}
		if len(kept) == 2000 {
			conn.Close()
			continue
		}
		if kept = append(kept, conn); len(kept) == 2000 {
			close(full)
		}
	}
}
