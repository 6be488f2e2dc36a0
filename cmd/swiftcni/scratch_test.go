// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// In an image that holds nothing but the binary, with /proc as every runtime mounts it, the plugin
// attaches: it needs no shell, no libc, no other program and no directory that it can't make.
func TestScratchImage(t *testing.T) {
	root := t.TempDir()
	buildRelease(t, filepath.Join(root, "bridge"))
	proc := filepath.Join(root, "proc")
	if err := os.Mkdir(proc, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", proc, "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(proc, unix.MNT_DETACH) })
	sleeper := func() int {
		t.Helper()
		p := exec.Command("sleep", "300")
		p.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() })
		return p.Process.Pid
	}
	host, container := sleeper(), sleeper()
	call := func(verb string) string {
		t.Helper()
		// The descriptor survives the change of root, so the namespace is entered first.
		cmd := exec.Command("nsenter", "--net=/proc/"+strconv.Itoa(host)+"/ns/net", "/usr/sbin/chroot", root, "/bridge")
		cmd.Env = []string{"CNI_COMMAND=" + verb, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_PATH=/",
			"CNI_NETNS=/proc/" + strconv.Itoa(container) + "/ns/net"}
		cmd.Stdin = strings.NewReader(strings.ReplaceAll(budgetConf, "DIR", "/var/lib/leases"))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", verb, err, out, stderr.Bytes())
		}
		return string(out)
	}
	if out := call("ADD"); !strings.Contains(out, "172.19.1.2/24") {
		t.Error(out)
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/leases/budget/172.19.1.2")); err != nil {
		t.Error(err)
	}
	call("DEL")
	if _, err := os.Stat(filepath.Join(root, "var/lib/leases/budget/172.19.1.2")); !os.IsNotExist(err) {
		t.Error("lease after DEL:", err)
	}
}
