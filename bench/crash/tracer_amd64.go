// SPDX-License-Identifier: Apache-2.0

package main

import "golang.org/x/sys/unix"

// skipCall makes the kernel not make the system call that a task is about to begin.
func skipCall(pid int) error {
	return changeRegs(pid, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) })
}

// setResult changes what a system call returns that has just ended.
func setResult(pid int, value int64) error {
	return changeRegs(pid, func(r *unix.PtraceRegs) { r.Rax = uint64(value) })
}

func changeRegs(pid int, change func(*unix.PtraceRegs)) error {
	var r unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &r); err != nil {
		return err
	}
	change(&r)
	return unix.PtraceSetRegs(pid, &r)
}

// Calls that arm64 never had.
var oldCalls = map[uint64]string{
	unix.SYS_OPEN: "open", unix.SYS_STAT: "stat", unix.SYS_LSTAT: "lstat", unix.SYS_ACCESS: "access",
	unix.SYS_MKDIR: "mkdir", unix.SYS_RMDIR: "rmdir", unix.SYS_UNLINK: "unlink", unix.SYS_LINK: "link",
	unix.SYS_SYMLINK: "symlink", unix.SYS_RENAME: "rename", unix.SYS_READLINK: "readlink",
	unix.SYS_CHMOD: "chmod", unix.SYS_CHOWN: "chown", unix.SYS_UTIMES: "utimes", unix.SYS_PIPE: "pipe",
	unix.SYS_DUP2: "dup2", unix.SYS_POLL: "poll", unix.SYS_SELECT: "select", unix.SYS_EPOLL_WAIT: "epoll_wait",
	unix.SYS_FORK: "fork", unix.SYS_VFORK: "vfork", unix.SYS_ARCH_PRCTL: "arch_prctl", unix.SYS_GETDENTS: "getdents",
}
