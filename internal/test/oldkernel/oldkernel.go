// SPDX-License-Identifier: Apache-2.0

// Package oldkernel makes a kernel look older to a test: a filter (seccomp(2)) refuses the calls that
// came later.
//
// A container's own filter does the same. Older versions of libseccomp answer EPERM to a call that they
// don't know, and newer ones ENOSYS, as an old kernel does. So a [Kernel] says how it refuses.
//
// Messages of netlink can't be filtered. What is new there is tested on real kernels
// (internal/test/kernels).
package oldkernel

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Kernel is the errno of a system call that it lacks: ENOSYS, or EPERM for that of a filter.
type Kernel unix.Errno

// A Call is a system call, or only those calls of it that have certain arguments.
type Call struct {
	Number uint32
	Where  []Argument
	// Errno refuses it whatever kernel it is; 0 is the kernel's.
	Errno unix.Errno
}

// An Argument is one that a call must have to be refused. Its upper half doesn't matter.
type Argument struct{ Place, Value uint32 }

// soPeerPIDFD is SO_PEERPIDFD (asm-generic/socket.h).
const soPeerPIDFD = 77

// Calls are those that Linux 4.18 lacks and that the plugins, a resident or Go's runtime make, and
// those that answer less there.
var Calls = []Call{
	{Number: unix.SYS_STATX},             // 4.11; attributes 5.8
	{Number: unix.SYS_PIDFD_SEND_SIGNAL}, // 5.1
	{Number: unix.SYS_PIDFD_OPEN},        // 5.3
	// 5.3; glibc makes no thread if it's EPERM, so no filter answers that any more.
	{Number: unix.SYS_CLONE3, Errno: unix.ENOSYS},
	{Number: unix.SYS_OPENAT2},      // 5.6
	{Number: unix.SYS_PIDFD_GETFD},  // 5.6
	{Number: unix.SYS_FACCESSAT2},   // 5.8
	{Number: unix.SYS_CLOSE_RANGE},  // 5.9
	{Number: unix.SYS_EPOLL_PWAIT2}, // 5.11
	{Number: unix.SYS_FCHMODAT2},    // 6.6
	// 4.10
	{Number: unix.SYS_IOCTL, Where: []Argument{{1, unix.SIOCGSKNS}}},
	// Before 6.8 its answer isn't used.
	{Number: unix.SYS_IOCTL, Where: []Argument{{1, unix.SIOCETHTOOL}}, Errno: unix.EOPNOTSUPP},
	// 4.20
	{Number: unix.SYS_SETSOCKOPT, Where: []Argument{{1, unix.SOL_NETLINK}, {2, unix.NETLINK_GET_STRICT_CHK}}, Errno: unix.ENOPROTOOPT},
	// 5.14
	{Number: unix.SYS_GETSOCKOPT, Where: []Argument{{1, unix.SOL_SOCKET}, {2, unix.SO_NETNS_COOKIE}}, Errno: unix.ENOPROTOOPT},
	// 6.5
	{Number: unix.SYS_GETSOCKOPT, Where: []Argument{{1, unix.SOL_SOCKET}, {2, soPeerPIDFD}}, Errno: unix.ENOPROTOOPT},
}

// Run calls fn on a thread of its own that has the kernel, and waits for it. What fn starts in other
// goroutines has the machine's.
func (k Kernel) Run(fn func()) error {
	done := make(chan error)
	go func() {
		defer close(done) // also if fn ends the test
		runtime.LockOSThread()
		if err := k.Enter(Calls...); err != nil {
			done <- err
			return
		}
		fn()
	}()
	return <-done
}

// Enter makes k the kernel of the calling thread, and of every process that it starts, for good. The
// caller has locked the thread.
func (k Kernel) Enter(calls ...Call) error {
	program := k.program(calls)
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// program is the filter. It reads a struct seccomp_data (linux/seccomp.h): the call's number, and from
// byte 16 on the arguments, each with its lower half first.
func (k Kernel) program(calls []Call) (p []unix.SockFilter) {
	for _, c := range calls {
		tests := append([]Argument{{Value: c.Number}}, c.Where...)
		for i, t := range tests {
			at := uint32(0)
			if i > 0 {
				at = 16 + 8*t.Place
			}
			p = append(p, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at},
				unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: t.Value, Jf: uint8(2*(len(tests)-1-i) + 1)})
		}
		errno := c.Errno
		if errno == 0 {
			errno = unix.Errno(k)
		}
		p = append(p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)})
	}
	return append(p, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
}
