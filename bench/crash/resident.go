// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/internal/tool/build"
	"golang.org/x/sys/unix"
)

// residents is bridge whose calls a resident makes, as CNI's plugin and as netavark's driver.
func (b builder) residents(p Plugin) (cni, driver Plugin, err error) {
	p.Name, p.Resident = oursStays, filepath.Join(filepath.Dir(p.Path), "swiftctl")
	driver = driving(p)
	driver.Name, driver.Modes = oursDrivesStays, append(driver.Modes, modeCaller)
	return p, driver, build.Swiftctl(b.progress, b.root, p.Resident)
}

// tries reports whether there are trials of a mode.
func (p *Plugin) tries(mode string) bool {
	return (p.Modes == nil || slices.Contains(p.Modes, mode)) && (mode != modeCaller || p.Resident != "")
}

// residing is a resident on the host of a trial.
type residing struct {
	pid   int
	log   *os.File
	files map[int]string // its descriptors from the beginning
}

// reside starts the resident, if there's one for the plugin's calls, and waits until it listens.
func (t *trying) reside() error {
	if t.plugin.Resident == "" {
		return nil
	}
	log, err := memFile()
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	before := socketFile()
	pid, err := syscall.ForkExec(t.plugin.Resident, []string{t.plugin.Resident, "serve"}, &syscall.ProcAttr{
		Env:   []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", t.plugin.Resident, err)
	}
	t.resident = &residing{pid: pid, log: log}
	for deadline := time.Now().Add(runLimit); socketFile() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("the resident doesn't listen: %s", t.resident.said())
		}
	}
	t.resident.files = descriptors(pid)
	return nil
}

// socketFile is the number of the file of the resident's socket, or 0. A resident that was killed
// leaves it, and the next one replaces it.
func socketFile() uint64 {
	var st unix.Stat_t
	_ = unix.Stat(handover.Socket, &st)
	return st.Ino
}

// said is what the resident has printed.
func (r *residing) said() string {
	b := make([]byte, 1<<16)
	n, _ := unix.Pread(int(r.log.Fd()), b, 0)
	return strings.TrimSpace(string(b[:max(n, 0)]))
}

// pause waits until all work has ended that may take longer than its verb: that of children, or of
// the resident, which goes on.
func (t *trying) pause() {
	if t.plugin.Resident == "" {
		t.Leaks = append(t.Leaks, reap(reapLimit, t.servants)...)
		return
	}
	if t.resident == nil {
		return
	}
	time.Sleep(offload.UntilStep()) // its timers
	t.idle()
}

// idle waits until the resident makes no call any more.
func (t *trying) idle() {
	tr := &tracer{decide: func(Call) verdict { return verdict{} }, limit: runLimit}
	if err := tr.follow(t.resident.pid, "", nil, nil); err != nil {
		t.wrong("%v", err)
	}
	if where := tr.late.Load(); where != nil {
		t.wrong("the resident is busy for %v: %s", runLimit, *where)
	}
	t.lose(tr)
}

// lose notes that the resident has ended under the tracer. It mustn't, unless it was killed.
func (t *trying) lose(tr *tracer) {
	if tr.ended == nil {
		return
	}
	said := t.resident.said()
	switch {
	case tr.killed:
	case tr.ended.ExitStatus() == 2 && (strings.Contains(said, "runtime") || strings.Contains(said, "goroutine")):
		t.Crashed = true
	default:
		t.wrong("the resident ended: %v", answer{status: *tr.ended, stderr: said})
	}
	t.resident.log.Close()
	t.resident = nil
}

// survey looks at the resident after the disturbed call, and at what its caller says. Of two calls
// at which it's killed, one is followed by another resident.
func (t *trying) survey(a answer, tr *tracer) error {
	switch {
	case t.resident == nil:
		return nil
	case t.Trial.Caller:
		t.pause()
	default:
		t.lose(tr)
	}
	if tr.strays > 0 && !t.Trial.Caller {
		t.wrong("the resident closes descriptors that aren't open, %d times", tr.strays)
	}
	ended := t.resident == nil
	if complete := a.ok() && (t.Trial.Verb != "ADD" || len(a.addresses()) > 0); ended && tr.killed && !complete && !a.cut() {
		t.wrong("the caller of a killed resident says: %v", a)
	}
	if a.cut() && !ended && !t.mayCut() {
		t.wrong("the resident lives, but: %v; it says: %s", a, t.resident.said())
	}
	if at := t.Trial.At; ended && t.Trial.Mode != modePower && (at.Nth+len(at.Name))%2 == 0 {
		return t.reside()
	}
	return nil
}

// mayCut reports whether the failing call is one without which the caller can't be told: that at
// the connection's begin or end, or the caller's own.
func (t *trying) mayCut() bool {
	name := t.Trial.At.Name
	return t.Trial.Mode == modeFail && (name == "write" || name == "epoll_ctl" || t.Trial.Caller && name == "read")
}

// repeated reports whether the caller may have made the call itself once it was over.
func (t *trying) repeated() bool {
	return t.plugin.Resident != "" && t.Trial.Verb == "DEL" && t.mayCut()
}

// cut reports whether the caller says that its resident has ended. Behind the answer itself that
// means that only the status is lacking.
func (a answer) cut() bool {
	says := `"code":11,"msg":"the resident process ended during the call"`
	if a.driver {
		says = `{"error":"the resident process ended during the call;`
	}
	return a.status.Exited() && a.status.ExitStatus() == 1 && strings.Contains(a.stdout, says)
}

// killCaller kills the caller at a system call, of the resident or of its own. An ADD that nobody
// hears of leaves nothing, even before DEL.
func (t *trying) killCaller() error {
	if err := t.begin(); err != nil {
		return err
	}
	tr := &tracer{}
	tr.decide = t.here(verdict{hook: tr.killCaller})
	if t.Trial.Caller {
		tr.decide = t.here(verdict{kill: true})
	}
	a, err := t.disturbed(tr)
	if err != nil {
		return err
	}
	if t.Trial.Verb == "ADD" && a.status.Signaled() && a.stdout == "" {
		if err := t.victimLeftNothing(); err != nil {
			return err
		}
	}
	return t.afterwards(a)
}

// limitFiles leaves the resident so many descriptors less one, until the call is over.
func (r *residing) limitFiles(tr *tracer, more int) {
	var before unix.Rlimit
	tr.prepare = func(pid int) error {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
			return err
		}
		open, end := descriptors(pid), 0 // the kernel gives the lowest number that's free
		for free := 1; free < more || open[end] != ""; end++ {
			if open[end] == "" {
				free++
			}
		}
		return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(end), Max: before.Max}, nil)
	}
	tr.restore = func() { _ = unix.Prlimit(r.pid, unix.RLIMIT_NOFILE, &before, nil) }
}

// mostKept is how many descriptors a resident may keep from its calls, such as sockets.
const mostKept = 16

// keeps are descriptors of calls that are over. None may be of the caller's streams or process, or
// of a namespace but the host's. Its standard streams must be there still.
func (r *residing) keeps() (list []string) {
	now := descriptors(r.pid)
	host, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", r.pid))
	for fd, link := range now {
		kind, _, _ := strings.Cut(link, ":")
		of := kind == "net" || kind == "pipe" || kind == "/memfd" || link == "anon_inode:[pidfd]"
		if of && link != host && link != r.files[fd] {
			list = append(list, "descriptor of the resident: "+strings.TrimRight(link, "[]0123456789"))
		}
	}
	for fd := range 3 { // others may have been open for its start only
		if now[fd] != r.files[fd] {
			list = append(list, fmt.Sprintf("descriptor %d of the resident's own is lost", fd))
		}
	}
	if more := len(now) - len(r.files); more > mostKept {
		list = append(list, fmt.Sprintf("%d descriptors of the resident", more))
	}
	return list
}

// dismiss ends the resident in the way that it's meant to end, and looks at what it has left.
func (t *trying) dismiss() {
	r := t.resident
	if r == nil {
		return
	}
	t.pause()
	if t.resident == nil {
		return
	}
	t.resident = nil
	defer r.log.Close()
	t.Leaks = append(t.Leaks, r.keeps()...)
	_ = unix.Kill(r.pid, unix.SIGTERM)
	watchdog := time.AfterFunc(runLimit, func() { _ = unix.Kill(r.pid, unix.SIGKILL) })
	defer watchdog.Stop()
	var status unix.WaitStatus
	if _, err := wait(r.pid, &status); err != nil || status != 0 {
		t.wrong("the resident ends: %v", answer{status: status, stderr: r.said()})
	}
	if strings.Contains(r.said(), "beyond repair") {
		t.wrong("the resident says: %s", r.said())
	}
	if socketFile() != 0 {
		t.wrong("the resident has left its socket")
	}
}

// settle ends the resident, and waits until all processes have ended.
func (t *trying) settle() {
	t.dismiss()
	t.Leaks = append(t.Leaks, reap(reapLimit, t.servants)...)
}

// close leaves nothing of the harness itself.
func (t *trying) close() {
	if t.resident != nil {
		_ = unix.Kill(t.resident.pid, unix.SIGKILL)
		t.resident.log.Close()
		t.resident = nil
	}
	t.release()
	t.host.close()
}
