// SPDX-License-Identifier: Apache-2.0

// Package box makes a host in a box: one process that holds network, mount, PID, UTS and IPC
// namespaces of its own. Daemons, plugins and benchmarks run there as on a machine of their own and
// touch nothing outside. It's only for tests and tools: the plugin never imports it.
//
// A program that starts boxes calls [Main] first thing in main or TestMain, since PID 1 of a box is
// the program itself, executed again. When that process ends, the kernel ends every process of the
// box, and with them go links, rulesets and mounts. That is the whole clean-up. The process ends
// with [Box.Close], and with the program that started it, however that dies.
//
// Inside, these are empty tmpfs mounts: /run, /var/lib/cni, /var/lib/containers, /etc/cni and all
// directories in which runtimes look for plugins (/opt/cni and those of distributions). /sys shows
// the box's own links and keeps the machine's cgroups, lo is up, and forwarding is off. Other files
// are the machine's.
package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// optionsVar passes the options to the process that becomes PID 1, and marks it.
const optionsVar = "SWIFTCNI_BOX"

// Addresses of the wire between a box and its outside router.
const (
	RouterIPv4 = "192.0.2.1"
	BoxIPv4    = "192.0.2.2"
	RouterIPv6 = "2001:db8:ffff::1"
	BoxIPv6    = "2001:db8:ffff::2"
)

// OutNetNS is the outside router's namespace, as seen in the box.
const OutNetNS = "/run/netns/out"

// Options are the options of a box. The zero value is an isolated host named "box".
type Options struct {
	// Hostname is the output of uname -n; empty means "box".
	Hostname string
	// Outside adds a router in a namespace of its own ([OutNetNS]), with [RouterIPv4] and
	// [RouterIPv6] on its end of a veth pair and a default route of the box through it. The router
	// has no route to addresses behind the box. So it answers a container only if the box
	// masquerades.
	Outside bool
}

// Box is a running host in a box. Its methods may be called from any goroutine.
type Box struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once PID 1, and so every process of the box, has ended
	once sync.Once
}

// Start makes a box. It needs root, and [Main] in the calling program.
func Start(o Options) (*Box, error) {
	if o.Hostname == "" {
		o.Hostname = "box"
	}
	encoded, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(self)
	cmd.Args = []string{"box-" + o.Hostname}
	cmd.Env = append(os.Environ(), optionsVar+"="+string(encoded))
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
		Setsid:     true, // a Ctrl-C at the terminal is for the program, which then closes the box
	}
	b := &Box{cmd: cmd, done: make(chan struct{})}
	if err := b.keep(); err != nil {
		w.Close()
		return nil, fmt.Errorf("box: new namespaces: %w", err)
	}
	w.Close()
	if answer, err := io.ReadAll(r); err != nil || string(answer) != ready {
		b.Close()
		return nil, fmt.Errorf("box: %w", errors.Join(errors.New(string(answer)), err))
	}
	return b, nil
}

// keep starts PID 1 on a thread that lives as long as the box, because Pdeathsig follows the thread
// that started the child, not its process.
func (b *Box) keep() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := b.cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = b.cmd.Wait() // always "killed"
		close(b.done)
	}()
	return <-started
}

// PID is the process ID of the box's PID 1, as seen by the caller. /proc/PID/root is the box's file
// tree.
func (b *Box) PID() int { return b.cmd.Process.Pid }

// Close ends every process of the box and returns when they are gone. Further calls do nothing.
func (b *Box) Close() {
	b.once.Do(func() { _ = b.cmd.Process.Kill() })
	<-b.done
}

// Command returns a command that will run inside the box, in the directory of its Dir or the
// caller's own. Killing it kills only the way in. A process that started inside ends with the box.
func (b *Box) Command(name string, args ...string) *exec.Cmd {
	// The directory is taken by name and inside: nsenter's own option would keep one of the outer
	// mounts.
	const enter = `target=$1; shift
exec nsenter -t "$target" -n -m -p -u -i -- sh -c 'cd "$1" && shift && exec "$@"' sh "$(pwd -P)" "$@"`
	return exec.Command("sh", append([]string{"-c", enter, "sh", strconv.Itoa(b.PID()), name}, args...)...)
}

// roleVar tells a program the role for which [Box.Self] started it.
const roleVar = "SWIFTCNI_BOX_ROLE"

// Self returns a command that will run the calling program once more, inside the box, where [Role]
// returns role.
func (b *Box) Self(role string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("box: %w", err)
	}
	cmd := b.Command(self)
	cmd.Env = append(os.Environ(), roleVar+"="+role)
	return cmd, nil
}

// Role returns the role for which [Box.Self] started this process, or "" if it didn't. Only the
// first call returns it, so that the processes that are started next have none.
func Role() string {
	role := os.Getenv(roleVar)
	os.Unsetenv(roleVar)
	return role
}

// Run runs a command inside the box and returns its standard output. The error of a command that
// fails has its standard error.
func (b *Box) Run(name string, args ...string) (string, error) {
	cmd := b.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), err
}

// NewNetNS makes a network namespace inside the box, as for a container, and returns its path
// there, /run/netns/NAME.
func (b *Box) NewNetNS(name string) (path string, err error) {
	_, err = b.Run("ip", "netns", "add", name)
	return filepath.Join("/run/netns", name), err
}

// DeleteNetNS removes the name that [Box.NewNetNS] gave. The namespace ends with its last user.
func (b *Box) DeleteNetNS(name string) error {
	_, err := b.Run("ip", "netns", "delete", name)
	return err
}
