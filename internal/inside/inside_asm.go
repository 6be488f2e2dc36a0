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
	from       *uintptr       // whose value is the first argument in a0's place
	text       unsafe.Pointer // the second argument in a1's place
	must       uintptr        // not 0: nothing after it is done if it fails
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

func socket(ns, own, protocol int, writes []Write) (int, error) {
	// Enter; open, write and close for each file; socket; leave.
	calls := make([]call, 3+3*len(writes))
	enter, rest := &calls[0], calls[1:]
	*enter = call{number: unix.SYS_SETNS, a0: uintptr(ns), a1: unix.CLONE_NEWNET, must: 1}
	for i := range writes {
		path, value := append([]byte(writes[i].Path), 0), []byte(writes[i].Value)
		open := &rest[3*i]
		*open = call{number: unix.SYS_OPENAT, a0: atCWD, text: unsafe.Pointer(unsafe.SliceData(path)), a2: unix.O_WRONLY | unix.O_CLOEXEC}
		rest[3*i+1] = call{number: unix.SYS_WRITE, from: &open.result, text: unsafe.Pointer(unsafe.SliceData(value)), a2: uintptr(len(value))}
		rest[3*i+2] = call{number: unix.SYS_CLOSE, from: &open.result}
	}
	open, leave := &calls[len(calls)-2], &calls[len(calls)-1]
	*open = call{number: unix.SYS_SOCKET, a0: unix.AF_NETLINK, a1: unix.SOCK_RAW | unix.SOCK_CLOEXEC, a2: uintptr(protocol)}
	*leave = call{number: unix.SYS_SETNS, a0: uintptr(own), a1: unix.CLONE_NEWNET}
	sequence(&calls[0], len(calls))
	if e := enter.errno(); e != 0 {
		return -1, syscallError("setns", e)
	}
	if e := leave.errno(); e != 0 {
		// Some thread of this process is now in a namespace that nobody expects: no later call could be trusted.
		panic("inside: can't return to the own network namespace: " + e.Error())
	}
	for i := range writes {
		if e := rest[3*i].errno(); e != 0 {
			writes[i].Err = failed("open", writes[i].Path, e)
		} else if e := rest[3*i+1].errno(); e != 0 {
			writes[i].Err = failed("write", writes[i].Path, e)
		}
	}
	if e := open.errno(); e != 0 {
		return -1, syscallError("socket", e)
	}
	return int(open.result), nil
}

// atCWD is AT_FDCWD (linux/fcntl.h) as an argument.
const atCWD = ^uintptr(99)
