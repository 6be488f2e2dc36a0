// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// greeted reports whether a daemon of dhcp answers at a socket.
func greeted(path string) bool {
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer c.Close()
	_, _ = io.WriteString(c, "CONNECT /_goRPC_ HTTP/1.0\n\n")
	line, _ := bufio.NewReader(c).ReadString('\n')
	return line == "HTTP/1.0 200 Connected to Go RPC\n"
}

// systemd's socket is used, and stays when the daemon ends.
func TestDHCPBySocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dhcp.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sh", "-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec swiftctl dhcp -socketpath "+path)
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if !greeted(path) {
		t.Error("nobody answers")
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

// A daemon takes a dead one's socket over, and no living one's.
func TestDHCPSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "dhcp.sock")
	start := func() *exec.Cmd {
		cmd := exec.Command("swiftctl", "dhcp", "--socketpath", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(time.Minute); !greeted(path); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody answers")
			}
		}
		return cmd
	}
	first := start()
	if out, err := exec.Command("swiftctl", "dhcp", "--socketpath", path).CombinedOutput(); err == nil || !strings.Contains(string(out), "another daemon listens at "+path) {
		t.Errorf("a second daemon: %v, %s", err, out)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	second := start()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", st, err)
	}
	_ = second.Process.Signal(unix.SIGTERM)
	if err := second.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

// A host that lacks file descriptors for a while doesn't end the daemon: it has leases to renew.
func TestDHCPOutlastsShortage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dhcp.sock")
	cmd := exec.Command("sh", "-c", "ulimit -n 16 && exec swiftctl dhcp --socketpath "+path)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	for end := time.Now().Add(time.Minute); !greeted(path); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody answers")
		}
	}
	var callers []net.Conn
	for range 32 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		callers = append(callers, c)
	}
	if line, err := bufio.NewReader(log).ReadString('\n'); err != nil || !strings.Contains(line, "too many open files") {
		t.Errorf("it says %q, %v", line, err)
	}
	for _, c := range callers {
		c.Close()
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // it may say so several times
	if !greeted(path) {
		t.Error("nobody answers any more")
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// A relative path of the process's number is wrong usage, as for the reference.
func TestDHCPUsage(t *testing.T) {
	out, err := exec.Command("swiftctl", "dhcp", "-pidfile=pid").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), `Error writing pidfile "pid": path not absolute`) {
		t.Errorf("%v: %s", err, out)
	}
}
