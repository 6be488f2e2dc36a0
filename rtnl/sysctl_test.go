// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Writing disable_ipv6 waits as long as another program holds the lock of all links. A collection of garbage that waited for
// that write as well would stop all goroutines. A pipe that's full keeps the writer waiting here: another process would read
// from it in the end, if the collection didn't end before.
func TestSysctlsFreezeNobody(t *testing.T) {
	container := newSide(t, "container")
	dir := t.TempDir()
	path := filepath.Join(dir, "sysctl")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := make([]byte, os.Getpagesize()); err == nil; {
		_, err = unix.Write(pipe, page)
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	reader := exec.Command("sh", "-c", `timeout 60 cat || touch "$1/froze"; exec cat "$1/sysctl"`, "sh", dir)
	told, err := reader.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Process.Kill() })
	written := make(chan error, 1)
	go func() {
		sysctls := []Sysctl{{Path: path, Value: "0"}}
		conn, err := DialWith(t.Context(), container.ns, sysctls)
		if err == nil {
			conn.Close()
			err = sysctls[0].Err
		}
		written <- err
	}()
	for deadline := time.Now().Add(time.Minute); !isWriting(t, path, pipe); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody writes")
		}
	}
	runtime.GC()
	told.Close()
	if err := <-written; err != nil {
		t.Error(err)
	}
	unix.Close(pipe) // the last writer's end
	if err := reader.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "froze")); err == nil {
		t.Error("a collection of garbage waits for the write")
	}
}

// isWriting reports whether one of our threads is in a system call that writes to a file, by another descriptor than ours.
func isWriting(t *testing.T, path string, ours int) bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if at, _ := os.Readlink("/proc/self/fd/" + fd.Name()); at != path || fd.Name() == fmt.Sprint(ours) {
			continue
		}
		var n int
		fmt.Sscan(fd.Name(), &n)
		calls, err := filepath.Glob("/proc/self/task/*/syscall")
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls {
			if text, _ := os.ReadFile(call); strings.HasPrefix(string(text), fmt.Sprintf("%d 0x%x ", unix.SYS_WRITE, n)) {
				return true
			}
		}
	}
	return false
}
