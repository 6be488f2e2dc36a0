// SPDX-License-Identifier: Apache-2.0

package offload

import (
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/nlsock"
	"github.com/swiftcni/swiftcni/internal/nstest"
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
	if err := Send(s.FD(), removal(link.Index)); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		if _, err := net.InterfaceByName("gone0"); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the link is still there")
		}
	}
	// The child ends by itself, and this process, its parent, can reap it; its signal mask was its own.
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
	if err := Send(0, make([]byte, maxMessage+1)); err != unix.EMSGSIZE {
		t.Error(err)
	}
}

// A PID namespace whose PID 1 is this test's shell isn't trusted to reap; one that's called an init is.
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

// The child has a copy of every descriptor, and lets go of them when it ends.
func TestLingerKeepsDescriptors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	start := time.Now()
	if err := Linger(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d, %v, want the end", n, err)
	}
	if took := time.Since(start); took < least {
		t.Errorf("the pipe was closed after %v", took)
	}
	for deadline := time.Now().Add(5 * time.Second); !childrenGone(t); {
		if time.Now().After(deadline) {
			t.Fatal("the child is still there")
		}
		var status unix.WaitStatus
		_, _ = unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil)
	}
}
