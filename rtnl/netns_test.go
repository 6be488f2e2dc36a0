// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestOpenNetNSRefuses(t *testing.T) {
	dir := t.TempDir()
	whole := nstest.New(t, "c")
	link, file, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(whole, link), os.WriteFile(file, nil, 0o600), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(file, &st); err != nil {
		t.Fatal(err)
	}
	magic := fmt.Sprintf("%x", st.Type)
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		missing:                     fmt.Sprintf("failed to Statfs %q: no such file or directory", missing),
		"/proc/4194399/ns/net":      `failed to Statfs "/proc/4194399/ns/net": no such file or directory`,
		file:                        fmt.Sprintf("unknown FS magic on %q: %s", file, magic),
		dir:                         fmt.Sprintf("unknown FS magic on %q: %s", dir, magic),
		fifo:                        fmt.Sprintf("unknown FS magic on %q: %s", fifo, magic),
		"/proc/self/status":         `unknown FS magic on "/proc/self/status": 9fa0`,
		link:                        fmt.Sprintf("%q is a symbolic link, not a network namespace", link),
		"/proc/self/ns/mnt":         `"/proc/self/ns/mnt" is a symbolic link, not a network namespace`,
		"/proc/self/cwd/../ns/net":  `failed to Statfs "/proc/self/cwd/../ns/net": no such file or directory`,
		"/proc/self/task/x/ns/net":  `failed to Statfs "/proc/self/task/x/ns/net": no such file or directory`,
		"/proc/self/root/proc/self": `"/proc/self/root/proc/self" is a symbolic link, not a network namespace`,
	} {
		ns, err := OpenNetNS(path)
		if err == nil {
			ns.Close()
			t.Errorf("%s is taken for a network namespace", path)
			continue
		}
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		_, isNot := as[*NotNetNSError](err)
		_, isLink := as[*SymlinkError](err)
		missing := errors.Is(err, fs.ErrNotExist)
		if missing != strings.Contains(want, "no such file") || isLink != strings.Contains(want, "symbolic") || isNot != strings.Contains(want, "magic") {
			t.Errorf("%T has the wrong type: %v", err, err)
		}
	}
}

func TestNamespaceOfAnotherType(t *testing.T) {
	nstest.Kernel(t)
	// A bind mount of a mount namespace would be refused by the kernel; one of a UTS namespace
	// isn't.
	path := filepath.Join(t.TempDir(), "uts")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/proc/self/ns/uts", path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	_, err := OpenNetNS(path)
	e, ok := as[*NotNetNSError](err)
	if !ok || e.Type != unix.CLONE_NEWUTS {
		t.Errorf("got %v", err)
	}
}

func TestOpenNetNSFollowsProcfs(t *testing.T) {
	nstest.Kernel(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	id, err := CurrentNetNSID()
	if err != nil || id != own.ID() || id == (NetNSID{}) {
		t.Errorf("current ID is %v, want %v: %v", id, own.ID(), err)
	}
	// /proc/self and /proc/PID are those of the process's first thread, which another test may have
	// left elsewhere.
	pid, tid := os.Getpid(), unix.Gettid()
	for _, path := range []string{
		"/proc/self/ns/net", "/proc/thread-self/ns/net", fmt.Sprintf("/proc/%d/ns/net", pid), fmt.Sprintf("/proc/%d/task/%d/ns/net", pid, tid),
	} {
		ns, err := OpenNetNS(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if thread := strings.Contains(path, "thread-self") || strings.Contains(path, "task"); thread && !ns.Equal(own) || ns.Path() != path || ns.FD() < 0 {
			t.Errorf("%s: %+v isn't the own namespace", path, ns)
		}
		ns.Close()
	}
	other := newSide(t, "c")
	if other.ns.Equal(own) || other.ns.ID() == (NetNSID{}) {
		t.Error("a new namespace isn't told apart")
	}
}

// TestNamespaceOfAZombie: a container whose process has ended but wasn't reaped has no namespace
// any more.
func TestNamespaceOfAZombie(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	_, err := OpenNetNS(fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestDoRunsInsideAndComesBack(t *testing.T) {
	c := newSide(t, "c")
	before, err := CurrentNetNSID()
	if err != nil {
		t.Fatal(err)
	}
	sentinel := errors.New("from fn")
	if err := c.ns.Do(func() error {
		id, err := CurrentNetNSID()
		if err != nil || id != c.ns.ID() {
			t.Errorf("fn runs in %v, want %v: %v", id, c.ns.ID(), err)
		}
		return sentinel
	}); err != sentinel {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = c.ns.Do(func() error { panic("in fn") })
	}()
	after, err := CurrentNetNSID()
	if err != nil || after != before {
		t.Errorf("thread came back to %v, want %v: %v", after, before, err)
	}
	closed := &NetNS{fd: -1, path: "closed"}
	if err := closed.Do(func() error { t.Error("fn runs without its namespace"); return nil }); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}

func TestSecondCloseTouchesNothing(t *testing.T) {
	ns, err := OpenNetNS(nstest.New(t, "c"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); err != nil {
		t.Error(err)
	}
	if err := ns.Close(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
	if ns.ID() != (NetNSID{}) {
		t.Error("a closed handle has an ID")
	}
}

// A lock is held against every other handle of the namespace, by whatever path, until it's closed.
func TestNetNSLock(t *testing.T) {
	path := nstest.New(t, "locked")
	first, err := OpenNetNS(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, err := OpenNetNS(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := unix.Flock(second.FD(), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Error("locked twice:", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := second.Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("the wait didn't end with its context:", err)
	}
	locked := make(chan error)
	go func() { locked <- second.Lock(t.Context()) }()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Error(err)
	}
}
