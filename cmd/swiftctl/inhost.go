// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// hostMounts is the mount namespace of the host, where process 1 is the host's.
const hostMounts = "/proc/1/ns/mnt"

// enterHost puts the program into the host's mount namespace: it starts itself once more there, though its file is in the
// container's only. It returns if it's there already.
func enterHost() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	hosts, err := os.Readlink(hostMounts)
	if err != nil || own == hosts {
		return err
	}
	self, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open this program's file", err)
	}
	to, err := unix.Open(hostMounts, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: hostMounts, Err: err}
	}
	// Only a thread with a root directory of its own may enter, and what it executes stays there. It's locked for good.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(to, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter the host's mount namespace: %w", err)
	}
	err = syscall.Exec("/proc/self/fd/"+strconv.Itoa(self), os.Args, os.Environ())
	return fmt.Errorf("start again in the host's mount namespace: %w", err)
}
