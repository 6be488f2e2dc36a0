// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package inside

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is one system call. Its layout is known to the assembly.
type call struct {
	number     uintptr
	a0, a1, a2 uintptr
	result     uintptr
	from       *uintptr       // its value becomes the first argument
	text       unsafe.Pointer // becomes the second argument
	must       uintptr        // not 0: if it fails, no later call is made
}

// sequence makes n system calls on one thread.
//
//go:noescape
func sequence(calls *call, n int)

// errno is the error of a call that was made, or 0.
func (c *call) errno() unix.Errno {
	if c.result > ^uintptr(4095) {
		return unix.Errno(-c.result)
	}
	return 0
}

// socket makes all the system calls in one go. The scheduler knows nothing of them.
func socket(ns, own, protocol int, writes []Write) (int, error) {
	// These are: enter; open, write and close for each file; socket; leave.
	calls := make([]call, 1, 3+3*len(writes)) // they stay in place, since some point to others
	calls[0] = call{number: unix.SYS_SETNS, a0: uintptr(ns), a1: unix.CLONE_NEWNET, must: 1}
	first := make([]int, len(writes)) // the first call of each file
	for i := range writes {
		first[i] = len(calls)
		calls = appendWrite(calls, &writes[i])
	}
	calls = append(calls,
		call{number: unix.SYS_SOCKET, a0: unix.AF_NETLINK, a1: unix.SOCK_RAW | unix.SOCK_CLOEXEC, a2: uintptr(protocol)},
		call{number: unix.SYS_SETNS, a0: uintptr(own), a1: unix.CLONE_NEWNET})
	enter, open, leave := &calls[0], &calls[len(calls)-2], &calls[len(calls)-1]
	sequence(&calls[0], len(calls))
	if e := enter.errno(); e != 0 {
		return -1, syscallError("setns", e)
	}
	if e := leave.errno(); e != 0 {
		// Some thread of this process is now in an unexpected namespace. No later call could be
		// trusted.
		panic(Lost{e})
	}
	for i := range writes {
		writes[i].take(calls[first[i]:])
	}
	if e := open.errno(); e != 0 {
		return -1, syscallError("socket", e)
	}
	return int(open.result), nil
}

// appendWrite appends the calls of one file.
func appendWrite(calls []call, w *Write) []call {
	path, value := append([]byte(w.Path), 0), []byte(w.Value)
	calls = append(calls, call{number: unix.SYS_OPENAT, a0: atCWD, text: unsafe.Pointer(unsafe.SliceData(path)), a2: unix.O_WRONLY | unix.O_CLOEXEC})
	if w.Later {
		return calls
	}
	fd := &calls[len(calls)-1].result
	return append(calls,
		call{number: unix.SYS_WRITE, from: fd, text: unsafe.Pointer(unsafe.SliceData(value)), a2: uintptr(len(value))},
		call{number: unix.SYS_CLOSE, from: fd})
}

// take reads a file's outcome from its calls.
func (w *Write) take(calls []call) {
	if e := calls[0].errno(); e != 0 {
		w.Err = failed("open", w.Path, e)
	} else if w.Later {
		w.fd, w.open = int(calls[0].result), true
	} else if e := calls[1].errno(); e != 0 {
		w.Err = failed("write", w.Path, e)
	}
}

// atCWD is AT_FDCWD (linux/fcntl.h) as an argument.
const atCWD = ^uintptr(99)
