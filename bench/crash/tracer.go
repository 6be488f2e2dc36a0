// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/internal/test/box"
	"golang.org/x/sys/unix"
)

// Call is one system call of a run: the Nth of its name, over all threads and processes of the run.
// Counting by name makes a run repeatable, although the Go runtime's own calls come in another
// order each time.
type Call struct {
	Name string
	Nth  int
}

func (c Call) String() string { return fmt.Sprintf("%s#%d", c.Name, c.Nth) }

// verdict is the fate of a system call that is about to begin.
type verdict struct {
	kill  bool          // the whole run ends here, and the call isn't made
	after bool          // with kill: the call is made first
	hook  func() error  // runs before the call is made
	errno syscall.Errno // the call isn't made and fails with this; only close(2) is made all the same
}

// tracer follows a process with all its threads and children, and asks decide at each system call.
type tracer struct {
	decide  func(Call) verdict
	limit   time.Duration
	prepare func(pid int) error // before the program's first instruction, or before a resident's call; may be nil
	restore func()              // once the resident's call is over; may be nil
	opened  func(pid, fd int)   // when it has opened a netlink socket; may be nil
	own     bool                // decide isn't asked about calls of programs that it executes

	root       int
	caller     int // of the resident that is followed, as long as it lives
	status     unix.WaitStatus
	ended      *unix.WaitStatus // of the resident, if it has ended
	tasks      map[int]*task
	counts     map[string]int
	fds        map[int]int // netlink sockets' protocols by descriptor
	calls      []Call
	ignored    map[int]bool // descriptors of a resident's Go runtime
	strays     int          // closes of descriptors that weren't open
	until      time.Time    // when the timers end that a resident's last call may have set
	sends      map[int]int  // netlink protocol: index in calls of the last send
	firstSends map[int]int
	hooked     int   // index in calls of a hook's call
	failed     error // of a hook
	killed     bool
	late       atomic.Pointer[string] // where it was when the time limit ended it
}

// task is one thread under trace.
type task struct {
	pending *verdict // of the call that it's in
	socket  int      // protocol of the netlink socket that's being opened, or -1
	again   bool     // the kernel repeats its last call, which isn't another call
	begun   bool     // its first stop, which attaching brings, has been seen
	foreign bool     // it belongs to a program that the traced one executed
	inside  string   // the call that it's in, or ""
}

const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// run traces a program from its start until its last process has ended. The calling thread must be
// locked: a tracee belongs to the thread that started it.
func (t *tracer) run(path string, argv []string, attr *syscall.ProcAttr) error {
	t.reset()
	attr.Sys = &syscall.SysProcAttr{Ptrace: true}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	t.root = pid
	t.tasks[pid] = &task{begun: true, socket: -1}
	var status unix.WaitStatus
	if _, err := wait(pid, &status); err != nil || !status.Stopped() {
		return fmt.Errorf("trace %s: status %#x: %w", path, status, err)
	}
	if err := unix.PtraceSetOptions(pid, traceOptions); err != nil {
		return fmt.Errorf("trace %s: %w", path, err)
	}
	if t.prepare != nil {
		if err := t.prepare(pid); err != nil {
			_ = unix.Kill(pid, unix.SIGKILL)
			return err
		}
	}
	watchdog := time.AfterFunc(t.limit, func() {
		where := box.KernelStacks(pid)
		t.late.Store(&where)
		_ = unix.Kill(pid, unix.SIGKILL)
	})
	defer watchdog.Stop()
	t.resume(pid, 0)
	return t.loop()
}

func (t *tracer) reset() {
	t.tasks, t.counts, t.fds, t.sends = map[int]*task{}, map[string]int{}, map[int]int{}, map[int]int{}
	t.firstSends = map[int]int{}
}

func (t *tracer) loop() error {
	for len(t.tasks) > 0 {
		var status unix.WaitStatus
		pid, err := wait(-1, &status)
		if errors.Is(err, unix.ECHILD) {
			break
		}
		if err != nil {
			return fmt.Errorf("wait for tracees: %w", err)
		}
		if status.Exited() || status.Signaled() {
			if pid == t.root {
				t.status = status
			}
			delete(t.tasks, pid)
			continue
		}
		if status.Stopped() {
			t.stopped(pid, status)
		}
	}
	return t.failed
}

// stopped handles a stop and lets the task go on.
func (t *tracer) stopped(pid int, status unix.WaitStatus) {
	k := t.tasks[pid]
	if k == nil { // a new task may stop before its parent's event announces it
		k = &task{socket: -1}
		t.tasks[pid] = k
		if t.killed {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	signal := status.StopSignal()
	switch {
	case signal == unix.SIGTRAP|0x80:
		t.syscall(pid, k)
		signal = 0
	case signal == unix.SIGTRAP && status>>16 != 0:
		t.event(pid, status.TrapCause())
		signal = 0
	case signal == unix.SIGSTOP && !k.begun:
		k.begun, signal = true, 0
	}
	t.resume(pid, signal)
}

// event learns of a new task from its parent, since the parent may be killed before the task stops
// for the first time.
func (t *tracer) event(pid, cause int) {
	switch cause {
	case unix.PTRACE_EVENT_EXEC:
		t.tasks[pid].foreign = true
		return
	case unix.PTRACE_EVENT_STOP:
		return
	}
	child, err := unix.PtraceGetEventMsg(pid)
	if err != nil {
		return
	}
	if t.tasks[int(child)] == nil {
		t.tasks[int(child)] = &task{socket: -1}
	}
	t.tasks[int(child)].foreign = t.tasks[pid].foreign
}

// resume fails only if the task has just been killed.
func (t *tracer) resume(pid int, signal syscall.Signal) {
	_ = unix.PtraceSyscall(pid, int(signal))
}

// syscallInfo is struct ptrace_syscall_info (linux/ptrace.h, Linux 5.3).
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	_    [2]uint64 // instruction and stack pointers
	// At entry nr and its arguments; at exit rval, and whether it's an error.
	nr   uint64
	args [6]uint64
	_    [2]uint64
}

func (t *tracer) syscall(pid int, k *task) {
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(pid),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	switch {
	case errno != 0 || t.killed || t.own && k.foreign:
	case info.op == unix.PTRACE_SYSCALL_INFO_ENTRY:
		t.entry(pid, k, &info)
	case info.op == unix.PTRACE_SYSCALL_INFO_EXIT:
		t.exit(pid, k, int64(info.nr))
	}
}

func (t *tracer) entry(pid int, k *task, info *syscallInfo) {
	name := callName(info.nr)
	k.inside = name
	if k.again {
		k.again = false
		return
	}
	if (name == "read" || name == "write") && t.ignored[int(info.args[0])] {
		return
	}
	if !isRuntime(name) {
		t.until = time.Now().Add(offload.UntilStep())
	}
	t.counts[name]++
	call := Call{name, t.counts[name]}
	t.calls = append(t.calls, call)
	k.socket = -1
	switch name {
	case "socket":
		if info.args[0] == unix.AF_NETLINK {
			k.socket = int(info.args[2])
		}
	case "sendto", "sendmsg":
		if protocol, ok := t.fds[int(info.args[0])]; ok {
			t.sends[protocol] = len(t.calls) - 1
			if _, ok := t.firstSends[protocol]; !ok {
				t.firstSends[protocol] = len(t.calls) - 1
			}
		}
	}
	v := t.decide(call)
	if v.hook != nil {
		t.hooked = len(t.calls) - 1
		t.failed = errors.Join(t.failed, v.hook())
	}
	switch {
	case v.kill && !v.after:
		t.kill()
	case v.kill:
		k.pending = &v
	case v.errno != 0:
		k.pending = &v
		if name != "close" {
			_ = skipCall(pid)
		}
	}
}

func (t *tracer) exit(pid int, k *task, value int64) {
	if k.inside == "close" && value == -int64(unix.EBADF) {
		t.strays++
	}
	k.inside = ""
	if k.socket >= 0 && value >= 0 {
		t.fds[int(value)] = k.socket
		if t.opened != nil {
			t.opened(t.root, int(value))
		}
	}
	v := k.pending
	if k.again = isRestart(value); k.again {
		return
	}
	k.pending = nil
	switch {
	case v == nil:
	case v.kill:
		t.kill()
	default:
		_ = setResult(pid, -int64(v.errno))
	}
}

// isRestart reports whether a call ends only to be made again: ERESTARTSYS and its like
// (include/linux/errno.h). A write to a sysctl of forwarding does so while another program holds
// the lock that it needs, hundreds of times.
func isRestart(value int64) bool { return value <= -512 && value >= -516 && value != -515 }

// kill ends all processes of the run at once, as the end of their cgroup would. A thread's ID
// serves as its process's.
func (t *tracer) kill() {
	t.killed = true
	for pid := range t.tasks {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// wait is wait4(2) for any kind of child. It begins again if a signal ends it.
func wait(pid int, status *unix.WaitStatus) (int, error) {
	for {
		got, err := unix.Wait4(pid, status, unix.WALL, nil)
		if err != unix.EINTR {
			return got, err
		}
	}
}
