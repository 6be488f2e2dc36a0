// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/tool/build"
	"golang.org/x/sys/unix"
)

// The programs are static, as a release has them.
func TestTry(t *testing.T) {
	nstest.Full(t, "it builds the programs, and becomes another user")
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	// Another user can't read the directories that t.TempDir makes.
	dir, err := os.MkdirTemp("", "swiftctl-try-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := build.Swiftctl(io.Discard, root, filepath.Join(dir, "swiftctl")); err != nil {
		t.Fatal(err)
	}
	if err := build.Release(io.Discard, root, filepath.Join(dir, binaryName), "./cmd/swiftcni"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(t *testing.T, dir string){
		"in_a_bare_root": tryInABareRoot, "without_root": tryWithoutRoot, "without_plugins": tryWithoutPlugins,
		"without_nftables": tryWithoutNFTables, "killed": tryKilled,
	} {
		t.Run(name, func(t *testing.T) { test(t, dir) })
	}
}

const worked = "All of it works"

// A root directory with the two programs and nothing else is enough: no shell, no ip, no /proc, no
// /tmp, no /dev. Nothing is added to it.
func tryInABareRoot(t *testing.T, root string) {
	try := func() (string, error) {
		cmd := exec.Command("/swiftctl", "try")
		cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := try(); err == nil || out != "swiftctl try: make a host in a box: the root directory is a chroot's that isn't a mount: mount --bind DIR DIR makes it one\n" {
		t.Errorf("in a root that is no mount: %v\n%s", err, out)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(root, unix.MNT_DETACH) }()
	if out, err := try(); err != nil || !strings.Contains(out, "Its plugins are /swiftcni.\n") || !strings.Contains(out, worked) {
		t.Errorf("%v\n%s", err, out)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) != 2 {
		t.Errorf("the root has now %v, %v", left, err)
	}
}

func tryWithoutRoot(t *testing.T, dir string) {
	cmd := exec.Command(filepath.Join(dir, "swiftctl"), "try")
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), worked) {
		t.Errorf("%v\n%s", err, out)
	}
}

// A program of ours that isn't the plugins' is no plugin.
func tryWithoutPlugins(t *testing.T, dir string) {
	cmd := exec.Command(filepath.Join(dir, "swiftctl"), "try", "--binary", filepath.Join(dir, "swiftctl"))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "\nswiftctl try: attach c1: ADD of bridge: its result isn't JSON: \"Attach containers to networks") {
		t.Errorf("%v\n%s", err, out)
	}
}

// A kernel without nfnetlink refuses its sockets. Here seccomp(2) does.
func tryWithoutNFTables(t *testing.T, dir string) {
	cmd := exec.Command(filepath.Join(dir, "swiftctl"), "try")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its filter
		err := refuseNetfilter()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || out.String() != "swiftctl try: nft: this kernel lacks nfnetlink (CONFIG_NETFILTER_NETLINK): socket: protocol not supported\n" {
		t.Errorf("exit status %d\n%s", code, &out)
	}
}

// refuseNetfilter has this thread, and what it executes, get no socket of nfnetlink.
func refuseNetfilter() error {
	const number, first, third = 0, 16, 32 // offsets in struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	give := func(value uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value} }
	const allow, refuse = 0x7fff0000, 0x00050000 // SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
	filter := []unix.SockFilter{
		load(number), unless(unix.SYS_SOCKET, 5),
		load(first), unless(unix.AF_NETLINK, 3),
		load(third), unless(unix.NETLINK_NETFILTER, 1),
		give(refuse | uint32(unix.EPROTONOSUPPORT)), give(allow),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// However it's ended, the box ends with it.
func tryKilled(t *testing.T, dir string) {
	const tried = "  c2  attached"
	for _, c := range []struct {
		name, command, at string
		signal            syscall.Signal
		exit              int
	}{
		{"kill", "try", tried, unix.SIGKILL, -1}, {"ctrl_c", "try", tried, unix.SIGINT, 130}, {"term", "try", tried, unix.SIGTERM, 143},
		{"bench", "bench", "Each round", unix.SIGKILL, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(filepath.Join(dir, "swiftctl"), c.command)
			out := slowPipe(t, cmd)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmd.Stdout.(*os.File).Close()
			line := make([]byte, 4096)
			for !strings.HasPrefix(string(line), c.at) {
				clear(line)
				if n, err := out.Read(line); err != nil || n == 0 {
					t.Fatal("it ends before it attaches", err)
				}
			}
			box := child(t, cmd.Process.Pid)
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.exit {
				t.Errorf("exit status %d, want %d", code, c.exit)
			}
			awaitEnd(t, box)
			if now, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !bytes.Equal(now, mounts) {
				t.Errorf("%v; the mounts are now\n%s", err, now)
			}
		})
	}
}

// slowPipe is a command's standard output, which holds no more than one piece that was written: the
// command waits for its reader, and doesn't end meanwhile.
func slowPipe(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_DIRECT); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	out := os.NewFile(uintptr(fds[0]), "out")
	cmd.Stdout = os.NewFile(uintptr(fds[1]), "in")
	t.Cleanup(func() { out.Close() })
	return out
}

// child is a descriptor of a process's only child.
func child(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/children"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		all = append(all, strings.Fields(string(text))...)
	}
	if len(all) != 1 {
		t.Fatalf("children of %d: %v", pid, all)
	}
	box, err := strconv.Atoi(all[0])
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(box, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// awaitEnd waits until a process has ended.
func awaitEnd(t *testing.T, pidfd int) {
	t.Helper()
	defer unix.Close(pidfd)
	f := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for end := time.Now().Add(5 * time.Minute); ; {
		n, err := unix.Poll(f, int(time.Until(end).Milliseconds()))
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("the box is still there: %v", err)
		}
	}
}
