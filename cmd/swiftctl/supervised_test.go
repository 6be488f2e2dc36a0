// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/internal/resident"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// systemd accepts the units, for the program that has installed them.
func TestUnits(t *testing.T) {
	nstest.Needs(t, "systemd-analyze")
	swiftctl, err := exec.LookPath("swiftctl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	install := func() string {
		out, err := exec.Command(swiftctl, "install", "--binary", swiftctl, "--units", filepath.Join(dir, "units"), filepath.Join(dir, "bin")).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	if out := install(); strings.Count(out, "installed  "+dir+"/units/swiftcni") != 4 {
		t.Errorf("the first time it says\n%s", out)
	}
	if out := install(); strings.Contains(out, "units") {
		t.Errorf("the second time it says\n%s", out)
	}
	files, err := filepath.Glob(dir + "/units/*")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "swiftcni") {
		t.Errorf("%v\n%s", err, out)
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err != nil || strings.HasSuffix(file, "dhcp.service") && !strings.Contains(string(text), "\nExecStart="+swiftctl+" dhcp\n") {
			t.Errorf("%v\n%s", err, text)
		}
	}
	files = []string{dir + "/units/swiftcni.service"}
	// A key that it doesn't know is told, so the silence means something.
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\nExecStart="+swiftctl+" serve\n") {
		t.Errorf("another program than %s is started:\n%s", swiftctl, text)
	}
	if err := os.WriteFile(files[0], append(text, "OOMScoreAdjusted=1\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _ := exec.Command("systemd-analyze", "verify", "--man=no", files[0]).CombinedOutput(); !strings.Contains(string(out), "OOMScoreAdjusted") {
		t.Errorf("nothing is said of a wrong key:\n%s", out)
	}
	// The exporter's unit comes with the exporter.
	exporter := filepath.Join(filepath.Dir(swiftctl), "swiftcni-exporter")
	if err := os.Symlink(swiftctl, exporter); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(exporter)
	if out := install(); !strings.Contains(out, "installed  "+dir+"/units/swiftcni-exporter.service") {
		t.Errorf("with an exporter it says\n%s", out)
	}
	unit := dir + "/units/swiftcni-exporter.service"
	if text, err := os.ReadFile(unit); err != nil || !strings.Contains(string(text), "\nExecStart="+exporter+" --listen 127.0.0.1:19101\n") {
		t.Errorf("another program than %s is started: %v\n%s", exporter, err, text)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit).CombinedOutput(); err != nil || strings.Contains(string(out), "swiftcni-") {
		t.Errorf("%v\n%s", err, out)
	}
	if err := (&installer{out: io.Discard}).putUnits(dir, "/a path/swiftctl"); err == nil {
		t.Error("a unit has a program's path with a space")
	}
}

// supervisor is a socket that is passed on, and one that hears what a service tells of itself.
type supervisor struct {
	path  string
	hears *net.UnixConn
	cmd   *exec.Cmd
}

// supervise starts a resident as systemd would.
func supervise(t *testing.T, sockets string) *supervisor {
	t.Helper()
	dir := t.TempDir()
	s := &supervisor{path: filepath.Join(dir, "resident")}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: s.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	notify := filepath.Join(dir, "notify")
	if s.hears, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.hears.Close() })
	// The number of the process is known only to itself.
	s.cmd = exec.Command("sh", "-c", "LISTEN_PID=$$ WATCHDOG_PID=$$ exec swiftctl serve")
	s.cmd.Env = append(os.Environ(), "LISTEN_FDS="+sockets, "NOTIFY_SOCKET="+notify, "WATCHDOG_USEC=200000")
	s.cmd.ExtraFiles = []*os.File{f, f}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	})
	return s
}

// next is what the service says next.
func (s *supervisor) next(t *testing.T) string {
	t.Helper()
	if err := s.hears.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 256)
	n, err := s.hears.Read(b)
	if err != nil {
		t.Fatal("nothing is said:", err)
	}
	return string(b[:n])
}

func TestServeForSystemd(t *testing.T) {
	s := supervise(t, "1")
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := s.next(t); got != want {
			t.Fatalf("it says %q, want %q", got, want)
		}
	}
	if version, err := resident.Ask(t.Context(), s.path); err != nil || version != cni.Version() {
		t.Errorf("its version is %q, %v, want %q", version, err, cni.Version())
	}
	if status, out := callThrough(t, s.path, "CNI_COMMAND=VERSION"); status != 0 || !strings.Contains(out, `"supportedVersions"`) {
		t.Errorf("a call through it: %d %s", status, out)
	}
	if _, err := os.Lstat(handover.Socket); err == nil {
		t.Error("it has made a socket of its own")
	}
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for got := ""; got != "STOPPING=1"; {
		if got = s.next(t); got != "STOPPING=1" && got != "WATCHDOG=1" {
			t.Fatalf("it says %q, want that it stops", got)
		}
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error("it ends with", err)
	}
	if _, err := os.Lstat(s.path); err != nil {
		t.Error("it has removed systemd's socket:", err)
	}
}

// A resident that stands still feeds no watchdog.
func TestWatchdogHungers(t *testing.T) {
	silent, err := resident.Listen(filepath.Join(t.TempDir(), "silent"))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	path := strings.TrimSuffix(silent.Addr().String(), ".next")
	fed, said := make(chan bool, 100), make(chan error, 100)
	go watched(t.Context(), 10*time.Millisecond, path, func() { fed <- true }, func(err error) { said <- err })
	for range 3 {
		if err := <-said; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	if len(fed) != 0 {
		t.Error("it's fed")
	}
}

// A resident aborts only once no answer has come for as long as it may take, in a row.
func TestAbortTakesMoreThanAMoment(t *testing.T) {
	aborts := 0
	answered, missed := starving(func() { aborts++ })
	for range 3 {
		for range questions {
			missed()
		}
		if aborts > 0 {
			t.Fatal("it aborts though an answer came meanwhile")
		}
		answered()
	}
	for range questions + 1 {
		missed()
	}
	if aborts != 1 {
		t.Errorf("it aborts %d times", aborts)
	}
}

func TestServeTakesOneSocket(t *testing.T) {
	s := supervise(t, "2")
	if err := s.cmd.Wait(); err == nil || s.cmd.ProcessState.ExitCode() != 1 {
		t.Error("with two sockets it ends with", err)
	}
}

// callThrough makes a call of the plugin bridge through a resident, as a plugin's first instructions
// do. An environment that's empty has no verb.
func callThrough(t *testing.T, path string, env ...string) (status byte, out string) {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	b := binary.NativeEndian.AppendUint32(nil, handover.Version)
	b = binary.NativeEndian.AppendUint32(b, 1)
	b = append(b, strings.Join(append([]string{"/opt/cni/bin/bridge"}, env...), "\x00")+"\x00"...)
	_, _, err = conn.WriteMsgUnix(b, unix.UnixRights(int(null.Fd()), int(to.Fd()), int(to.Fd())), nil)
	to.Close()
	if err != nil {
		t.Fatal(err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return answer[0], string(text)
}
