// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"io/fs"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// contextPath is the file by which a process takes a security context, as the kernel reads it.
const contextPath = "/proc/self/attr/current\x00"

// attachAs has a child make the tap in its context. SELinux gives a tap the context of its maker:
// the one for sockets doesn't count (selinux_tun_dev_create, security/selinux/hooks.c). A process
// with other threads may only take a context that the policy bounds by its own (typebounds), which
// policies for containers don't. So it's a child with one thread and with memory of its own that
// takes the context. It makes the tap of the descriptor that it shares with this process, and ends.
func (t *Tap) attachAs(fd int, r *ifreq) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// No handler of a signal's may run in the child: Go's runtime doesn't know it.
	var all, mask unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &mask) // it has these signals
	pid, errno := forkAttach(fd, r, t.Context)
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil)
	if errno != 0 {
		return t.refused(errno, "")
	}
	// It sends no signal when it ends, so nobody else waits for it by chance.
	var status syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &status, unix.WALL, nil); err != unix.EINTR {
			break
		}
	}
	switch code := status.ExitStatus(); {
	case code < 0: // it was killed
		return t.refused(unix.EINTR, "")
	case code&notAttached != 0:
		return t.notAttached(unix.Errno(code&^notAttached), "in the security context "+t.Context)
	case code != 0:
		return &fs.PathError{Op: "write", Path: contextPath[:len(contextPath)-1], Err: unix.Errno(code)}
	}
	return nil
}

// notAttached, in the child's exit status, says that the context was taken. The rest is an errno,
// which is below 128 for all that can fail here.
const notAttached = 1 << 7

// forkAttach starts the child. Of this process the child has one thread, whose stack can't grow, and
// no runtime: it makes raw system calls and nothing else.
//
//go:norace
//go:nosplit
func forkAttach(fd int, r *ifreq, context string) (pid int, errno unix.Errno) {
	// Without flags the order of the arguments, which depends on the architecture, is no matter.
	child, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, 0, 0, 0, 0, 0, 0)
	if child != 0 || errno != 0 {
		return int(child), errno
	}
	cwd := unix.AT_FDCWD
	file, _, failed := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(unsafe.StringData(contextPath))), unix.O_WRONLY, 0, 0, 0)
	if failed == 0 {
		_, _, failed = syscall.RawSyscall(unix.SYS_WRITE, file, uintptr(unsafe.Pointer(unsafe.StringData(context))), uintptr(len(context)))
	}
	if failed == 0 {
		_, _, failed = syscall.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(r)))
		if failed != 0 {
			failed |= notAttached
		}
	}
	for {
		_, _, _ = syscall.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(failed), 0, 0)
	}
}
