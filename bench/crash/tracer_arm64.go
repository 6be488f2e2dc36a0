// SPDX-License-Identifier: Apache-2.0

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ntPRStatus       = 1     // NT_PRSTATUS, linux/elf.h
	ntARMSystemCall  = 0x404 // NT_ARM_SYSTEM_CALL
	setRegSetRequest = unix.PTRACE_SETREGSET
)

// skipCall makes the kernel not make the system call that a task is about to begin.
func skipCall(pid int) error {
	nr := int32(-1)
	return regSet(setRegSetRequest, pid, ntARMSystemCall, unsafe.Pointer(&nr), unsafe.Sizeof(nr))
}

// setResult changes what a system call returns that has just ended.
func setResult(pid int, value int64) error {
	var r unix.PtraceRegs
	if err := regSet(unix.PTRACE_GETREGSET, pid, ntPRStatus, unsafe.Pointer(&r), unsafe.Sizeof(r)); err != nil {
		return err
	}
	r.Regs[0] = uint64(value)
	return regSet(setRegSetRequest, pid, ntPRStatus, unsafe.Pointer(&r), unsafe.Sizeof(r))
}

func regSet(request, pid int, kind uintptr, data unsafe.Pointer, size uintptr) error {
	iov := unix.Iovec{Base: (*byte)(data), Len: uint64(size)}
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), kind, uintptr(unsafe.Pointer(&iov)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Calls that arm64 never had: none.
var oldCalls map[uint64]string
