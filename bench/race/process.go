// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"golang.org/x/sys/unix"
)

// processBound is how long a plugin may run. One that takes longer hangs.
const processBound = 2 * time.Minute

// A call is one process of a plugin.
type call struct {
	program                 string
	verb, id, netns, ifName string
	config                  []byte
	args                    []string
	victim                  int           // which plugin of a list the kill, or what happens meanwhile, is for
	env                     []string      // beyond CNI's variables
	kill                    time.Duration // after its start; 0 is never
	meanwhile               func()        // runs after delay, if it isn't nil
	delay                   time.Duration
}

// An outcome is how a call ended.
type outcome struct {
	exit           int
	step           int  // which plugin of a list it was
	killed, hung   bool // we ended it: on purpose, or because it took too long
	cut            bool // we killed its resident
	stdout, stderr []byte
	err            *pluginError // nil if it succeeded, or printed no error object
	stuck          string       // the place in the kernel where it hung
	took           time.Duration
}

// pluginError is the specification's error object.
type pluginError struct {
	Code         uint
	Msg, Details string
}

// String is the outcome in a line.
func (o *outcome) String() string {
	switch {
	case o.hung:
		return fmt.Sprintf("hung, killed after %v: %s", processBound, o.stuck)
	case o.cut:
		return "resident killed"
	case o.killed:
		return "killed"
	case o.exit == 0:
		return "ok"
	case o.err != nil:
		return fmt.Sprintf("code %d: %s; %s", o.err.Code, o.err.Msg, o.err.Details)
	}
	return fmt.Sprintf("exit status %d without an error object: %.300s %.300s", o.exit, o.stdout, o.stderr)
}

// half reports whether a plugin of a list failed after another had succeeded.
func (o *outcome) half() bool { return o.step > 0 && o.exit != 0 && !o.killed && !o.hung }

// short is the outcome's name in counts.
func (o *outcome) short() string {
	switch {
	case o.hung:
		return "hung"
	case o.cut:
		return "resident killed"
	case o.killed:
		return "killed"
	case o.exit == 0:
		return "ok"
	case o.err != nil:
		return fmt.Sprintf("code %d", o.err.Code)
	}
	return "no answer"
}

// code is the error object's, or 0.
func (o *outcome) code() uint {
	if o.err == nil {
		return 0
	}
	return o.err.Code
}

// run starts the process and waits for its end. The error is the harness's own.
func (c *call) run() (*outcome, error) {
	files, err := c.files()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	p, err := os.StartProcess(c.program, append([]string{c.program}, c.args...), &os.ProcAttr{Env: c.environment(), Files: files})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.program, err)
	}
	o := &outcome{}
	var stuck atomic.Pointer[string]
	bound := time.AfterFunc(processBound, func() {
		where := box.KernelStacks(p.Pid)
		stuck.Store(&where)
		_ = p.Kill()
	})
	defer bound.Stop()
	if c.kill > 0 {
		defer time.AfterFunc(c.kill, func() { _ = p.Kill() }).Stop()
	}
	done := make(chan struct{})
	if c.meanwhile != nil {
		time.AfterFunc(c.delay, func() { c.meanwhile(); close(done) })
	} else {
		close(done)
	}
	state, err := p.Wait()
	o.took = time.Since(started)
	<-done
	if err != nil {
		return nil, fmt.Errorf("wait for %s: %w", c.program, err)
	}
	status := state.Sys().(syscall.WaitStatus)
	o.exit = state.ExitCode()
	if where := stuck.Load(); where != nil {
		o.hung, o.stuck = true, *where
	}
	o.killed = c.kill > 0 && status.Signaled() && status.Signal() == syscall.SIGKILL
	return o, c.read(o, files)
}

// files are standard input, output and error. Nobody need feed or drain them.
func (c *call) files() (list []*os.File, err error) {
	in, err := c.input()
	if in != nil {
		list = append(list, in)
	}
	if err != nil {
		return list, err
	}
	for _, name := range []string{"stdout", "stderr"} {
		fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
		if err != nil {
			return list, fmt.Errorf("memfd: %w", err)
		}
		list = append(list, os.NewFile(uintptr(fd), name))
	}
	return list, nil
}

func (c *call) environment() []string {
	return append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"CNI_COMMAND=" + c.verb, "CNI_CONTAINERID=" + c.id, "CNI_NETNS=" + c.netns, "CNI_IFNAME=" + c.ifName,
		"CNI_PATH=" + filepath.Dir(c.program),
	}, c.env...)
}

func (c *call) read(o *outcome, files []*os.File) error {
	var err1, err2 error
	o.stdout, err1 = readAll(files[1])
	o.stderr, err2 = readAll(files[2])
	if o.exit != 0 && !o.killed && !o.hung {
		var e pluginError
		if json.Unmarshal(o.stdout, &e) == nil && e.Code != 0 {
			o.err = &e
		}
	}
	return errors.Join(err1, err2)
}

func readAll(f *os.File) ([]byte, error) {
	size, err := f.Seek(0, 2)
	if err != nil || size == 0 {
		return nil, err
	}
	b := make([]byte, size)
	_, err = f.ReadAt(b, 0)
	return b, err
}
