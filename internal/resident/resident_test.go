// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/handover"
	"golang.org/x/sys/unix"
)

// started is a server at a socket in a directory of the test's. stop ends it, and waits for its end.
func started(t *testing.T, o Options) (s *Server, path string, stop func() error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "resident")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	return s, path, func() error {
		cancel()
		return <-done
	}
}

// serving is a server at a socket in a directory of the test's, and the number of its calls.
func serving(t *testing.T) (path string, calls *atomic.Int32) {
	t.Helper()
	calls = new(atomic.Int32)
	_, path, stop := started(t, Options{Done: func(Call) { calls.Add(1) }})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Error("the socket is left:", err)
		}
	})
	return path, calls
}

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func packet(version, args uint32, text string) []byte {
	b := binary.NativeEndian.AppendUint32(nil, version)
	return append(binary.NativeEndian.AppendUint32(b, args), text...)
}

const asksVersion = "/opt/cni/bin/bridge\x00CNI_COMMAND=VERSION\x00"

// Whatever comes in place of a message is answered by "do it yourself", also beside callers that
// say nothing.
func TestRubbish(t *testing.T) {
	path, calls := serving(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	rights := func(n int) []byte {
		list := make([]int, n)
		for i := range list {
			list[i] = int(null.Fd())
		}
		return unix.UnixRights(list...)
	}
	for range 200 {
		dial(t, path)
	}
	good := packet(1, 1, asksVersion)
	for _, test := range []struct {
		name    string
		message []byte
		control []byte
		want    byte
	}{
		{"a zero byte", []byte{0}, rights(3), handover.DoItYourself},
		{"header alone", packet(1, 1, ""), rights(3), handover.DoItYourself},
		{"no end", packet(1, 1, "bridge"), rights(3), handover.DoItYourself},
		{"older", packet(0, 1, asksVersion), rights(3), handover.DoItYourself},
		{"newer", packet(2, 1, asksVersion), rights(3), handover.DoItYourself},
		{"more arguments than strings", packet(1, 3, asksVersion), rights(3), handover.DoItYourself},
		{"no argument", packet(1, 0, asksVersion), rights(3), handover.DoItYourself},
		{"as many arguments as it can say", packet(1, 1<<32-1, asksVersion), rights(3), handover.DoItYourself},
		{"no streams", good, nil, handover.DoItYourself},
		{"two streams", good, rights(2), handover.DoItYourself},
		{"four streams", good, rights(4), handover.DoItYourself},
		{"a hundred streams", good, rights(100), handover.DoItYourself},
		{"no verb", packet(1, 1, "bridge\x00A=1\x00"), rights(3), handover.DoItYourself},
		{"a large environment", packet(1, 1, asksVersion+strings.Repeat("A=1\x00", 10_000)), rights(3), 0},
		{"too large an environment", packet(1, 1, asksVersion+strings.Repeat("A=1\x00", 40_000)), rights(3), handover.DoItYourself},
		{"good", good, rights(3), 0},
	} {
		before := calls.Load()
		conn := dial(t, path)
		if _, _, err := conn.WriteMsgUnix(test.message, test.control, nil); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		var b [2]byte
		n, err := conn.Read(b[:])
		if err != nil || n != 1 || b[0] != test.want {
			t.Errorf("%s: answered % x, %v, want %x", test.name, b[:n], err, test.want)
		}
		if _, err := conn.Read(b[:]); err != io.EOF {
			t.Errorf("%s: after the answer: %v", test.name, err)
		}
		if made := calls.Load() - before; (made == 1) != (test.want == 0) {
			t.Errorf("%s: %d calls", test.name, made)
		}
	}
	if n := descriptorsOpen(t); n > 500 {
		t.Errorf("%d descriptors are open", n)
	}
}

// A resident tells its version, and one that isn't there or doesn't answer is an error in time.
func TestAsk(t *testing.T) {
	path, calls := serving(t)
	before := descriptorsOpen(t)
	for range 10 {
		if version, err := Ask(t.Context(), path); err != nil || version != cni.Version() {
			t.Fatalf("%q, %v, want %q", version, err, cni.Version())
		}
	}
	if n := descriptorsOpen(t); n > before+2 { // the last connection's end may not have been seen yet
		t.Errorf("%d descriptors are open, %d before", n, before)
	}
	if calls.Load() != 0 {
		t.Error("a question counts as a call")
	}
	if _, err := Ask(t.Context(), path+"-nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Error("no resident:", err)
	}
	silent, err := Listen(filepath.Join(t.TempDir(), "silent"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := Ask(ctx, silent.path); !errors.Is(err, context.DeadlineExceeded) {
		t.Error("a silent one:", err)
	}
	silent.Close()
	if _, err := Ask(t.Context(), silent.path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Error("one that has ended:", err)
	}
}

// descriptorsOpen counts the process's descriptors.
func descriptorsOpen(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// A caller that goes before its input is there leaves nothing behind, however its streams are held.
func TestCallerGoesWhileItsInputIsAwaited(t *testing.T) {
	path, calls := serving(t)
	before := descriptorsOpen(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	conn := dial(t, path)
	fd := int(r.Fd())
	if _, _, err := conn.WriteMsgUnix(packet(1, 1, "bridge\x00CNI_COMMAND=ADD\x00"), unix.UnixRights(fd, fd, fd), nil); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for deadline := time.Now().Add(time.Minute); descriptorsOpen(t) > before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("its streams are still held")
		}
	}
	if calls.Load() != 0 {
		t.Error("a call was made")
	}
}

func TestParse(t *testing.T) {
	m, err := parse(packet(1, 2, "a\x00\x00CNI_A=1\x00CNI_A=2\x00CNI_AB=3\x00\x00"))
	if err != nil || len(m.args) != 2 || m.args[1] != "" || len(m.env) != 4 {
		t.Fatalf("%+v %v", m, err)
	}
	for name, want := range map[string]string{"CNI_A": "1", "CNI_AB": "3", "CNI": "", "": ""} {
		if got := m.getenv(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packet(1, 1, asksVersion))
	f.Add(packet(1, 2, "a\x00b\x00"))
	f.Add(packet(1, 1<<31, "\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		// What was read says the same again.
		text := strings.Join(append(append([]string(nil), m.args...), m.env...), "\x00") + "\x00"
		if again := packet(1, uint32(len(m.args)), text); !bytes.Equal(again, b) {
			t.Errorf("% x was read as % x", b, again)
		}
	})
}

func TestUnderstood(t *testing.T) {
	for _, test := range []struct {
		env  []string
		want bool
	}{
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/run/netns/c1", "CNI_PATH=/opt/cni/bin:/usr/lib/cni"}, true},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/proc/4711/ns/net"}, true},
		{[]string{"CNI_COMMAND=DEL"}, true},
		{[]string{"CNI_COMMAND=VERSION", "CNI_NETNS=dummy", "CNI_PATH=dummy"}, true},
		{nil, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/proc/self/ns/net"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/proc/thread-self/ns/net"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/proc//self/ns/net"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/proc/./self/ns/net"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/run/../proc/self/ns/net"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=/dev/fd/5"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_NETNS=netns/c1"}, false},
		{[]string{"CNI_COMMAND=ADD", "CNI_PATH=/opt/cni/bin:bin"}, false},
		{[]string{"CNI_COMMAND=ADD", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus"}, false},
	} {
		if got := understood(&message{args: []string{"bridge"}, env: test.env}); got != test.want {
			t.Errorf("%q: %v, want %v", test.env, got, test.want)
		}
	}
	for _, test := range []struct {
		args string
		want bool
	}{
		{"setup /run/netns/c1", true},
		{"teardown /proc/4711/ns/net", true},
		{"teardown", true}, // which is refused by whoever makes it
		{"create", true},
		{"info", false},
		{"setup run/netns/c1", false},
		{"setup /proc/self/ns/net", false},
		{"setup ", false},
		{"other", false},
	} {
		m := &message{args: append([]string{"swiftcni"}, strings.Split(test.args, " ")...)}
		for _, env := range [][]string{nil, {"CNI_COMMAND=ADD"}, {"CNI_COMMAND=VERSION", "CNI_NETNS=dummy"}} {
			m.env = env
			if got := understood(m); got != test.want {
				t.Errorf("%s, %q: %v, want %v", test.args, env, got, test.want)
			}
			if once := test.args[:3] == "set"; m.once() != once && test.args != "other" {
				t.Errorf("%s, %q: made once: %v", test.args, env, m.once())
			}
		}
		m.env = []string{"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus"}
		if understood(m) {
			t.Errorf("%s: by another bus", test.args)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		name    string
		prepare func(path string) error
	}{
		{"a link", func(path string) error { return os.Symlink("elsewhere", path) }},
		{"a directory", func(path string) error { return os.Mkdir(path, 0o700) }},
		{"a file", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		{"others may write there", func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) }},
		{"a directory that's a link", func(path string) error {
			return errors.Join(os.Remove(filepath.Dir(path)), os.Symlink(dir, filepath.Dir(path)))
		}},
	} {
		path := filepath.Join(dir, strings.ReplaceAll(test.name, " ", "_"), "resident")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := test.prepare(path); err != nil {
			t.Fatal(err)
		}
		if l, err := Listen(path); err == nil {
			l.Close()
			t.Errorf("%s: a socket was made", test.name)
		}
	}
}

// A resident that goes leaves the socket of the one that has followed it.
func TestRemoveLeavesTheNextResidents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resident")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	if err := second.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("it's left:", err)
	}
}

// TestTurns: one container's calls don't run beside each other, and another's do.
func TestTurns(t *testing.T) {
	s := turns{waiting: map[string]*turn{}}
	end := s.take("c1")
	s.take("c2")()
	s.take("")()
	got := make(chan func())
	go func() { got <- s.take("c1") }()
	select {
	case <-got:
		t.Fatal("two calls have the turn")
	case <-time.After(20 * time.Millisecond):
	}
	end()
	(<-got)()
	if len(s.waiting) != 0 {
		t.Error("turns are left:", s.waiting)
	}
}

// A call whose caller is killed while it waits for its turn isn't made: the container's next call may
// have been made meanwhile.
func TestCallerGoneBeforeItsTurn(t *testing.T) {
	made := make(chan Call, 3)
	s, path, stop := started(t, Options{Done: func(c Call) { made <- c }})
	call(t, path, "CNI_COMMAND=VERSION")
	<-made // so it serves
	end := s.turns.take("c1")
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	streams := unix.UnixRights(int(null.Fd()), int(null.Fd()), int(null.Fd()))
	ask := func() *net.UnixConn {
		conn := dial(t, path)
		if _, _, err := conn.WriteMsgUnix(packet(1, 1, asksVersion+"CNI_CONTAINERID=c1\x00"), streams, nil); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	killed := ask()
	waiting := func() int {
		s.turns.Lock()
		defer s.turns.Unlock()
		return s.turns.waiting["c1"].calls
	}
	for waiting() < 2 {
		time.Sleep(time.Millisecond)
	}
	killed.Close()
	heard := ask()
	end()
	if status, err := io.ReadAll(io.LimitReader(heard, 1)); err != nil || string(status) != "\x00" {
		t.Errorf("the next call: %q, %v", status, err)
	}
	if err := stop(); err != nil || len(made) != 1 {
		t.Errorf("%d calls were made, %v", len(made), err)
	}
}

// A resident that follows another waits for the call of the same container that runs there, and its
// ADDs for a GC. The shared file goes with the last one.
func TestTurnsOfTwoResidents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resident")
	var residents [2]struct {
		turns
		running
		*Listener
	}
	for i := range residents {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		r := &residents[i]
		r.waiting, r.turns.others, r.running.others, r.Listener = map[string]*turn{}, l.shared, l.shared, l
	}
	var ended atomic.Bool
	soon := func(end func()) (over chan struct{}) {
		over = make(chan struct{})
		ended.Store(false)
		time.AfterFunc(50*time.Millisecond, func() { ended.Store(true); end(); close(over) })
		return over
	}
	over := soon(residents[0].take("c1"))
	residents[1].take("c2")()
	residents[1].take("c1")()
	waited := ended.Load()
	<-over
	if !waited {
		t.Error("two calls have the turn")
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	own := residents[1].begin(fds[0], true)
	residents[1].awaitOrphans(true) // its caller lives
	own()
	over = soon(residents[0].begin(fds[0], true))
	residents[1].awaitOrphans(true)
	waited = ended.Load()
	<-over
	if !waited {
		t.Error("an ADD didn't wait for the other's GC")
	}
	residents[0].forget()
	if _, err := os.Lstat(path + sharedSuffix); err != nil {
		t.Error(err)
	}
	if err := residents[1].remove(); err != nil {
		t.Fatal(err)
	}
	residents[1].forget()
	if list, err := os.ReadDir(filepath.Dir(path)); err != nil || len(list) > 0 {
		t.Errorf("left: %v, %v", list, err)
	}
}

// A caller for which there's no descriptor isn't left to wait.
func TestNoDescriptorIsLeft(t *testing.T) {
	path, calls := serving(t)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }()
	var all []int
	free := func() {
		for _, fd := range all {
			unix.Close(fd)
		}
		all = nil
	}
	defer free()
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == unix.EMFILE {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fd)
	}
	for i := range 3 {
		unix.Close(all[i]) // the caller's
		var conn *net.UnixConn
		err := error(unix.EMFILE)
		for errors.Is(err, unix.EMFILE) { // accept(2) takes a number for a moment, even if nobody has called
			conn, err = net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		var status [1]byte
		if _, err := io.ReadFull(conn, status[:]); err != nil || status[0] != handover.DoItYourself {
			t.Errorf("answered %d, %v, want %d", status[0], err, handover.DoItYourself)
		}
	}
	all = all[3:]
	free()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	fd := int(null.Fd())
	for tries := 1; calls.Load() == 0; tries++ { // the first can still be sent back, with its message unread
		conn := dial(t, path)
		var status [1]byte
		_, _, err := conn.WriteMsgUnix(packet(1, 1, asksVersion), unix.UnixRights(fd, fd, fd), nil)
		if err == nil {
			_, err = io.ReadFull(conn, status[:])
		}
		if tries == 3 {
			t.Fatalf("with descriptors it answers %d, %v", status[0], err)
		}
	}
}
