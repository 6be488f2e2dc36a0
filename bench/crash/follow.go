// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"golang.org/x/sys/unix"
)

// follow traces a resident, which runs already, while it makes the call of a program that is
// started here. It ends once the program has ended and the resident has nothing left to do. Without
// a path there's no such program, and it only waits for the resident.
func (t *tracer) follow(resident int, path string, argv []string, attr *syscall.ProcAttr) error {
	t.reset()
	t.root = resident
	watchdog := time.AfterFunc(t.limit, func() {
		where := box.KernelStacks(resident)
		t.late.Store(&where)
		_ = unix.Kill(resident, unix.SIGKILL)
	})
	defer watchdog.Stop()
	if err := t.seize(); err != nil {
		return fmt.Errorf("follow the resident: %w", err)
	}
	t.await(t.waits)
	clear(t.counts)
	t.calls = nil
	if t.prepare != nil {
		t.failed = t.prepare(resident)
	}
	if path != "" && t.failed == nil {
		caller, err := syscall.ForkExec(path, argv, attr)
		if err != nil {
			return fmt.Errorf("start %s: %w", path, err)
		}
		t.caller = caller
		t.await(func() bool { return t.caller == 0 })
	}
	t.await(func() bool { return len(t.tasks) == 0 || t.waits() && time.Now().After(t.until) })
	if t.restore != nil {
		t.restore()
	}
	t.release()
	return t.failed
}

// seize begins to trace all threads of the process, and those that they start.
func (t *tracer) seize() error {
	if err := t.learn(); err != nil {
		return err
	}
	for more := true; more; {
		more = false
		threads, err := os.ReadDir("/proc/" + strconv.Itoa(t.root) + "/task")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			tid, err := strconv.Atoi(thread.Name())
			if err != nil || t.tasks[tid] != nil {
				continue
			}
			// A thread that a traced one has started is traced.
			switch err := seizeThread(tid); err {
			case nil, unix.EPERM:
				t.tasks[tid] = &task{socket: -1}
				_ = unix.PtraceInterrupt(tid)
				more = true
			case unix.ESRCH:
			default:
				return err
			}
		}
	}
	return nil
}

// learn finds out which descriptors the resident has open.
func (t *tracer) learn() error {
	t.ignored = map[int]bool{}
	protocols, err := netlinkSockets(t.root)
	if err != nil {
		return err
	}
	for fd, link := range descriptors(t.root) {
		if protocol, ok := protocols[link]; ok {
			t.fds[fd] = protocol
			if t.opened != nil {
				t.opened(t.root, fd)
			}
		}
		if strings.HasPrefix(link, "anon_inode:[event") { // netpoll's
			t.ignored[fd] = true
		}
	}
	return nil
}

// descriptors are the open descriptors of a process, with what each leads to.
func descriptors(pid int) map[int]string {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	all := map[int]string{}
	entries, _ := os.ReadDir(dir) // it may have ended
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		link, err2 := os.Readlink(dir + e.Name())
		if err == nil && err2 == nil {
			all[fd] = link
		}
	}
	return all
}

// netlinkSockets are the protocols of all netlink sockets of a process's namespace, by what a
// descriptor of one leads to.
func netlinkSockets(pid int) (map[string]int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/net/netlink")
	if err != nil {
		return nil, err
	}
	all := map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		if protocol, err := strconv.Atoi(fields[1]); err == nil {
			all["socket:["+fields[9]+"]"] = protocol
		}
	}
	return all, nil
}

// waits reports whether each thread of the resident waits for more work, or for a timer. One that
// was just woken is in its call still, but doesn't sleep.
func (t *tracer) waits() bool {
	for tid, k := range t.tasks {
		switch k.inside {
		case "futex", "nanosleep", "clock_nanosleep", "epoll_pwait", "epoll_wait", "restart_syscall":
		default:
			return false
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/stat")
		if _, state, _ := strings.Cut(string(stat), ") "); err != nil || !strings.HasPrefix(state, "S") {
			return false
		}
	}
	return true
}

// await handles what happens until a condition holds, or until the resident and the caller have
// ended.
func (t *tracer) await(done func() bool) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil, pid == 0 && done():
			return
		case pid == 0:
			time.Sleep(50 * time.Microsecond)
		case status.Exited() || status.Signaled():
			t.gone(pid, status)
		case status.Stopped():
			t.stopped(pid, status)
		}
	}
}

// gone notes the end of a process or a thread.
func (t *tracer) gone(pid int, status unix.WaitStatus) {
	delete(t.tasks, pid)
	switch pid {
	case t.caller:
		t.status, t.caller = status, 0
	case t.root:
		t.ended = &status
	}
}

// killCaller kills the resident's caller. It's dead afterwards.
func (t *tracer) killCaller() error {
	if t.caller == 0 {
		return nil
	}
	var status unix.WaitStatus
	err := unix.Kill(t.caller, unix.SIGKILL)
	if err == nil {
		_, err = wait(t.caller, &status)
	}
	t.gone(t.caller, status)
	return err
}

// release ends the trace of the resident, which goes on.
func (t *tracer) release() {
	for tid := range t.tasks {
		_ = unix.PtraceInterrupt(tid)
	}
	released := map[int]bool{}
	for len(t.tasks) > 0 {
		var status unix.WaitStatus
		pid, err := wait(-1, &status)
		if err != nil {
			return
		}
		if !status.Stopped() {
			t.gone(pid, status)
			continue
		}
		signal := status.StopSignal()
		if signal == unix.SIGTRAP|0x80 || status>>16 != 0 {
			signal = 0
		}
		if child, err := unix.PtraceGetEventMsg(pid); err == nil && status.TrapCause() == unix.PTRACE_EVENT_CLONE && !released[int(child)] {
			t.tasks[int(child)] = &task{}
		}
		_, _, _ = unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(signal), 0, 0)
		released[pid] = true
		delete(t.tasks, pid)
	}
}

// seizeThread begins to trace a thread without stopping it.
func seizeThread(tid int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, traceOptions, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// follow runs a verb whose call a resident makes under a tracer.
func (c call) follow(t *tracer, resident int) (answer, error) {
	s, err := c.prepare()
	if err != nil {
		return answer{}, err
	}
	defer s.close()
	t.limit = runLimit
	if err := t.follow(resident, c.Path, s.argv, s.attr); err != nil {
		return answer{}, err
	}
	if t.caller != 0 {
		return answer{}, errors.New("the caller hasn't ended")
	}
	return s.answer(t.status, t.late.Load())
}
