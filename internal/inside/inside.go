// SPDX-License-Identifier: Apache-2.0

// Package inside opens a socket in another network namespace, and writes a few files there on the
// way.
//
// A thread that enters a namespace must be the one that leaves it. runtime.LockOSThread keeps a
// goroutine on its thread, but its first call starts one more thread for the runtime, which costs
// about 100 µs with its end. On known architectures, a few instructions of assembly make the system
// calls instead. The scheduler can't move a goroutine while it's in them.
//
// Nor does the scheduler know that the goroutine waits in the kernel. So anything that stops the
// world, such as a garbage collection, waits with it. Entering, opening a socket and leaving take
// microseconds. But writing a sysctl may take as long as another program holds the lock of all
// links (RTNL): the removal of 900 links takes a quarter of a second. So files are written with the
// scheduler's knowledge, on a locked thread, unless the context of the call says [Alone].
package inside

import (
	"context"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A Write is a file and its new content. Err is set if writing failed.
type Write struct {
	Path, Value string
	// Later only opens the file, so that Finish can write it from outside.
	Later bool
	Err   error

	fd   int  // of a file that's open for later
	open bool // fd is one
}

// Finish writes a file that was opened for later, and closes it. If there is none it does nothing.
func (w *Write) Finish() error {
	if !w.open {
		return nil
	}
	defer w.Drop()
	if _, err := unix.Write(w.fd, []byte(w.Value)); err != nil {
		return &fs.PathError{Op: "write", Path: w.Path, Err: err}
	}
	return nil
}

// Drop closes a file that was opened for later, and leaves its content.
func (w *Write) Drop() {
	if w.open {
		w.open = false
		unix.Close(w.fd)
	}
}

// OwnPath is the calling thread's namespace. /proc/self is that of the process's first thread.
const OwnPath = "/proc/thread-self/ns/net"

// Own opens the calling thread's network namespace, by way of a socket that is made in it
// (SIOCGSKNS, Linux 4.10): four short system calls. Looking the path up in procfs takes three times
// as long. It's used if the caller isn't allowed to ask the socket.
func Own() (fd int, err error) {
	if s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err == nil {
		fd, err := unix.IoctlRetInt(s, unix.SIOCGSKNS)
		unix.Close(s)
		if err == nil {
			return fd, nil
		}
	}
	for {
		fd, err := unix.Open(OwnPath, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		if err != unix.EINTR {
			return -1, &fs.PathError{Op: "open", Path: OwnPath, Err: err}
		}
	}
}

// Alone is the key of a context's value. The value is true in a process that does nothing but this
// call, so that the call may stop it.
type Alone struct{}

// Home is the key of a context's value. The value is an int, a descriptor of the namespace of the
// threads that run the call. Without it a thread asks for its own.
type Home struct{}

// Socket opens a netlink socket inside the namespace of a descriptor, after it has written files
// there.
func Socket(ctx context.Context, ns, protocol int, writes []Write) (fd int, err error) {
	own, known := ctx.Value(Home{}).(int)
	if !known {
		if own, err = Own(); err != nil {
			return -1, err
		}
		defer unix.Close(own)
	}
	if alone, _ := ctx.Value(Alone{}).(bool); alone || len(writes) == 0 {
		fd, err = socket(ns, own, protocol, writes)
	} else {
		fd, err = socketOnThread(ns, own, protocol, writes)
	}
	if err != nil {
		for i := range writes {
			writes[i].Drop()
		}
	}
	return fd, err
}

// Lost is what a call panics with if a thread can't leave the container's namespace. No later call
// of the process could be trusted, so nobody may go on after it.
type Lost struct{ Err error }

func (l Lost) Error() string {
	return "inside: can't return to the own network namespace: " + l.Err.Error()
}

// failed names the system call that failed at a file.
func failed(op, path string, errno unix.Errno) error {
	return &fs.PathError{Op: op, Path: path, Err: errno}
}

func syscallError(name string, errno unix.Errno) error { return os.NewSyscallError(name, errno) }
