// SPDX-License-Identifier: Apache-2.0

package box

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The first process of a box is an init. The plugins leave some work to children that outlive them, if
// they know who reaps these, and so a DEL is as fast in a box as on a host.

// Values of insideVar.
const (
	asInit   = "1"
	asWorker = "2"
)

// A process is known by the name of its first thread, and only package initialisation surely runs there.
func init() {
	if isInit() {
		runtime.LockOSThread()
	}
}

func isInit() bool { return os.Getpid() == 1 && os.Getenv(insideVar) == asInit }

// Init doesn't return in the first process of a box: that runs this program once more, which is
// [Inside], reaps whoever is left by others, and ends with it. main calls it before anything else.
func Init() {
	if !isInit() {
		return
	}
	status, err := work()
	if err != nil {
		fmt.Fprintln(os.Stderr, "swiftctl: run this program in its box:", err)
	}
	os.Exit(status)
}

func work() (status int, err error) {
	unix.CloseOnExec(lifeline)
	go watch()
	var name [16]byte
	copy(name[:], "init") // by which package offload knows one that reaps
	if err := unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&name)), 0, 0, 0); err != nil {
		return 1, os.NewSyscallError("prctl", err)
	}
	self, err := Self()
	if err != nil {
		return 1, err
	}
	os.Setenv(insideVar, asWorker)
	worker, err := os.StartProcess(self, os.Args, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return 1, err
	}
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 1, os.NewSyscallError("wait4", err)
		case pid == worker.Pid && s.Exited():
			return s.ExitStatus(), nil
		case pid == worker.Pid:
			return 1, fmt.Errorf("it was killed: %v", s.Signal())
		}
	}
}
