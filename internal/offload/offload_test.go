// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package offload

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/nlsock"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/test/oldkernel"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// removal is RTM_DELLINK by index.
func removal(index int) []byte {
	m := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_DELLINK)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(m[unix.SizeofNlMsghdr+4:], uint32(index))
	return m
}

func TestSendReachesTheKernel(t *testing.T) {
	nstest.Kernel(t)
	nstest.Run(t, "", "ip", "link", "add", "gone0", "type", "veth", "peer", "name", "gone1")
	link, err := net.InterfaceByName("gone0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := nlsock.Open(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := Send(s.FD(), removal(link.Index)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := net.InterfaceByName("gone0"); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the link is still there")
		}
	}
	// The child ends by itself, and this process, its parent, can reap it; its signal mask was its
	// own.
	for !childrenGone(t) {
		if time.Now().After(deadline) {
			t.Fatal("the child is still there")
		}
		var status unix.WaitStatus
		_, _ = unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Error("signals don't arrive any more:", err)
	}
}

func childrenGone(t *testing.T) bool {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		list, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err == nil && strings.TrimSpace(string(list)) != "" {
			return false
		}
	}
	return true
}

func TestSendRefusesWhatDoesNotFit(t *testing.T) {
	if _, err := Send(0, make([]byte, maxMessage+1)); err != unix.EMSGSIZE {
		t.Error(err)
	}
}

// A PID namespace whose PID 1 is this test's shell isn't trusted to reap; one that's called an init
// is.
func TestReapedTrustsInitsAlone(t *testing.T) {
	comm, err := os.ReadFile("/proc/1/comm")
	if err != nil {
		t.Fatal(err)
	}
	known := false
	for _, name := range inits {
		known = known || name == strings.TrimSpace(string(comm))
	}
	if Reaped() != known {
		t.Errorf("PID 1 is %q: %s", comm, strconv.FormatBool(Reaped()))
	}
}

func TestUntilStepEndsTogether(t *testing.T) {
	for now := int64(1); now < 10*int64(step); now += 999_983 {
		d := untilStep(now)
		if end := now + int64(d); end%int64(step) != 0 || d < least || d > least+step {
			t.Errorf("from %d it's %v, to %d", now, d, end)
		}
	}
}

// The child keeps what it's left, and lets go of it when it ends.
func TestLingerKeepsDescriptors(t *testing.T) {
	nstest.Kernel(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	start := time.Now()
	if _, err := Linger(int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v, want the end", n, err)
	}
	if took := time.Since(start); took < least {
		t.Errorf("the pipe was closed after %v", took)
	}
	reapAll(t)
}

// reapAll waits until no child is left.
func reapAll(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !childrenGone(t); {
		if time.Now().After(deadline) {
			t.Fatal("the child is still there")
		}
		var status unix.WaitStatus
		_, _ = unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil)
	}
}

// TestChildHoldsNothingElse looks at what a child has once it says that it has let go: sockets that
// it was left, in any places, and the root directory.
func TestChildHoldsNothingElse(t *testing.T) {
	nstest.Kernel(t)
	for _, c := range []struct {
		name  string
		do    func(fds []int) (Child, error)
		kept  int
		limit func() // of the thread that starts the child
	}{
		{"sends", func(fds []int) (Child, error) { return Send(fds[0], []byte("none"), fds[1], fds[3]) }, 3, nil},
		{"lingers", func(fds []int) (Child, error) { return Linger(fds[4]) }, 1, nil},
		{"keeps neighbours", func(fds []int) (Child, error) { return Linger(fds[1], fds[0], fds[2]) }, 3, nil},
		{"keeps nothing", func([]int) (Child, error) { return Linger() }, 0, nil},
		{"keeps as many as it can", func(fds []int) (Child, error) { return Linger(fds...) }, maxKept, nil},
		{"on an old kernel", func(fds []int) (Child, error) { return Linger(fds[1]) }, 1, refuseCloseRange},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			fds := make([]int, 20)
			for i := range fds {
				s, err := nlsock.Open(unix.NETLINK_ROUTE)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				fds[i] = s.FD()
			}
			// One that ends before it can be looked at proves nothing.
			for deadline := time.Now().Add(time.Minute); ; {
				fd, cwd, ok := lookAtChild(t, c.limit, func() (Child, error) { return c.do(fds) })
				if ok {
					if len(fd) != c.kept || cwd != "/" {
						t.Errorf("the child has %q, and works in %q, want %d sockets and /", fd, cwd, c.kept)
					}
					return
				}
				if time.Now().After(deadline) {
					t.Fatal("no child lives long enough")
				}
			}
		})
	}
}

// lookAtChild stops a child when it has let go, says what it has, and ends it.
func lookAtChild(t *testing.T, limit func(), start func() (Child, error)) (fds []string, cwd string, ok bool) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread's limit is its own
		if limit != nil {
			limit()
		}
		child, err := start()
		if err == nil {
			child.Wait()
			fds, cwd, ok = stopAndLook(unix.Gettid())
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	reapAll(t)
	return fds, cwd, ok
}

func stopAndLook(thread int) (fds []string, cwd string, ok bool) {
	list, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", thread))
	pid, err := strconv.Atoi(strings.TrimSpace(string(list)))
	if err != nil || unix.Kill(pid, unix.SIGSTOP) != nil {
		return nil, "", false
	}
	defer func() { _ = unix.Kill(pid, unix.SIGKILL) }()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, e := range entries {
		name, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, e.Name()))
		fds = append(fds, name)
	}
	cwd, cwdErr := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return fds, cwd, err == nil && cwdErr == nil
}

// refuseCloseRange makes the thread's system call close_range(2) one that the kernel lacks.
func refuseCloseRange() {
	if err := oldkernel.Kernel(unix.ENOSYS).Enter(oldkernel.Call{Number: unix.SYS_CLOSE_RANGE}); err != nil {
		panic(err)
	}
}
