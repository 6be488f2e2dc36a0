// SPDX-License-Identifier: Apache-2.0

// Package box makes a host in a box for the commands that show swiftcni at work: namespaces of their
// own, in which this program is the first process, and once more the second. When the first ends,
// however it ends, the kernel ends all others in the box, and with them go namespaces, links, rules
// and mounts.
//
// It needs neither a program nor a file of the machine. A user who isn't root gets a user namespace
// as well. A command calls [Run] outside and [Enter] inside, and tells the two apart by [Inside].
package box

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideVar marks the first and the second process of a box.
const insideVar = "SWIFTCTL_BOX"

// lifeline is the descriptor by which the first process hears that it has nobody to work for any more.
const lifeline = 3

// Inside reports whether this process is the one that works in a box.
func Inside() bool { return os.Getenv(insideVar) == asWorker && os.Getppid() == 1 }

// Self is the path of this program, though there may be no /proc.
func Self() (string, error) {
	if path, err := os.Executable(); err == nil {
		return path, nil
	}
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return "", fmt.Errorf("find this program's file: %w", err)
	}
	return filepath.Abs(path)
}

// Run runs this program once more, with the same arguments, in a box, and returns its exit status. The box ends when the context does, and when this process is killed.
func Run(ctx context.Context, stdout, stderr io.Writer) (status int, err error) {
	self, err := Self()
	if err != nil {
		return 0, err
	}
	end, line, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer line.Close()
	cmd := exec.CommandContext(ctx, self)
	cmd.Args = os.Args
	cmd.Env = append(os.Environ(), insideVar+"="+asInit)
	cmd.Stdin = os.Stdin // else it's /dev/null, which there may not be
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{end}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Setsid:     true, // a Ctrl-C at the terminal is for this process, which then ends the box
	}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	err = cmd.Start()
	end.Close()
	if err != nil {
		return 0, denied("make namespaces", err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// denied says what a user can do about an error of a right that is lacking.
func denied(what string, err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("%s: %w", what, err)
	}
	if isRoot() {
		return fmt.Errorf("%s: %w (this root lacks CAP_SYS_ADMIN, as in a container that isn't privileged)", what, err)
	}
	return fmt.Errorf("%s: %w (this machine lets only root do that)", what, err)
}

// isRoot reports whether this process is the machine's root, not that of a user namespace of [Run]'s.
func isRoot() bool {
	if os.Geteuid() != 0 {
		return false
	}
	var first, to, size int64
	text, err := os.ReadFile("/proc/self/uid_map")
	if err == nil {
		_, err = fmt.Sscan(string(text), &first, &to, &size)
	}
	return err != nil || to == 0
}

// watch ends this process, and so the box, when the other end of its lifeline is closed.
func watch() {
	f := os.NewFile(lifeline, "lifeline")
	_, _ = f.Read(make([]byte, 1))
	os.Exit(1)
}
