// SPDX-License-Identifier: Apache-2.0

// Package nstest gives tests a kernel of their own: network namespaces that hold nothing, touch
// nothing outside, and vanish with the test.
package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// insideVar marks the re-executed test binary.
const insideVar = "SWIFTCNI_TEST_NAMESPACE"

// Tests are the tests for [Main]: a *testing.M, or a type that wraps one.
type Tests interface{ Run() int }

// Main runs a package's tests in a new network and mount namespace, so that no test can reach the
// machine's own network. If the caller isn't root, it also makes a user namespace. Call it as the
// whole of TestMain:
//
//	func TestMain(m *testing.M) { nstest.Main(m) }
//
// Inside, /run is an empty tmpfs, /sys shows the new namespace, and lo is down as in any new
// namespace.
func Main(m Tests) {
	if os.Getenv(insideVar) != "" {
		// A fuzzing worker is started from inside, where everything is prepared.
		if slices.Contains(os.Args, "-test.fuzzworker") {
			os.Exit(m.Run())
		}
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "nstest:", err)
			os.Exit(2)
		}
		os.Exit(m.Run())
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "nstest:", err)
		os.Exit(2)
	}
	cmd := exec.Command(self, os.Args[1:]...)
	// Not every PATH has the directories of root's programs.
	cmd.Env = append(os.Environ(), insideVar+"=1", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  unix.SIGKILL,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	// Pdeathsig follows the thread that started the child, not the process.
	runtime.LockOSThread()
	err = cmd.Run()
	if exit, ok := err.(*exec.ExitError); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nstest: new namespaces:", err)
		os.Exit(2)
	}
	os.Exit(0)
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	return os.MkdirAll("/run/netns", 0o755)
}

// Full marks a test that `make unit` leaves out, and says why: it needs the machine's root, a
// program that few have, or a long time. Every other run has all tests.
func Full(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip("not by make unit: " + why)
	}
}

// emulatedVar says that qemu-user runs the tests, and emulate.sh made their namespaces.
const emulatedVar = "SWIFTCNI_TEST_EMULATED"

// Kernel marks a test that needs the kernel itself, and not what qemu-user makes of it, which lacks
// netlink but for a few messages, many an ioctl, and a way to start a second process of the test's.
// `make arches` leaves the test out. In [internal/test/kernels] it runs on kernels of other
// architectures.
func Kernel(t testing.TB) {
	t.Helper()
	if os.Getenv(emulatedVar) != "" {
		t.Skip("not under qemu-user: it needs the kernel itself")
	}
}

// FileTimes marks a test that needs the nanoseconds of files' times, which qemu-user forgets on
// s390x.
func FileTimes(t testing.TB) {
	t.Helper()
	if runtime.GOARCH == "s390x" {
		Kernel(t)
	}
}

// Needs names a program that the test starts. `make unit` leaves the test out if the program is
// missing.
func Needs(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Full(t, err.Error())
	}
}

// New makes a network namespace and returns its path, /run/netns/NAME-N in the test's own mount
// namespace. It's unmounted when the test ends. Its content goes when the last holder closes it.
func New(t testing.TB, name string) string {
	t.Helper()
	Kernel(t)
	f, err := os.CreateTemp("/run/netns", name+"-")
	if err != nil {
		t.Fatal(err)
	}
	path := f.Name()
	f.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- andBack(func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			return unix.Mount(threadNS(), path, "", unix.MS_BIND, "")
		})
	}()
	if err := <-done; err != nil {
		t.Fatalf("new namespace %s: %v", path, err)
	}
	t.Cleanup(func() { Remove(path) })
	return path
}

// Remove ends a namespace that [New] made, as when its container dies. A second Remove does
// nothing.
func Remove(path string) {
	_ = unix.Unmount(path, unix.MNT_DETACH)
	_ = os.Remove(path)
}

// In runs fn on a thread in the namespace at path. Goroutines that fn starts don't run there. fn
// must not call t.Fatal: that belongs to the test's own goroutine.
func In(t testing.TB, path string, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		// This is deferred, so that a fn that ends its goroutine can't hang the test.
		defer func() { done <- err }()
		err = andBack(func() error {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
			if err == nil {
				fn()
			}
			return err
		})
	}()
	if err := <-done; err != nil {
		t.Fatalf("enter %s: %v", path, err)
	}
}

// andBack brings the locked thread back to its network namespace when fn has ended, and unlocks it.
// If it stayed there it would end with its goroutine, unless it's the process's first. That one
// would stay, and hold the namespace.
func andBack(fn func() error) error {
	own, err := unix.Open(threadNS(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() {
		if unix.Setns(own, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		unix.Close(own)
	}()
	return fn()
}

// Command returns a command that runs in the namespace at path.
func Command(path, name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--net=" + path, "--", name}, args...)...)
}

// Run runs a command in the namespace at path ("" is the test's own) and returns its output. A
// command that fails ends the test.
func Run(t testing.TB, path, name string, args ...string) string {
	t.Helper()
	Needs(t, name)
	for {
		cmd := exec.Command(name, args...)
		if path != "" {
			cmd = Command(path, name, args...)
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		if !Overtaken(string(out)) {
			return string(out)
		}
	}
}

// Overtaken reports whether a listing that ip(8) printed may lack something, as other changes came
// between its parts (NLM_F_DUMP_INTR). It says so on its standard error.
func Overtaken(out string) bool { return strings.Contains(out, "Dump was interrupted") }

func threadNS() string {
	return filepath.Join("/proc/self/task", strconv.Itoa(unix.Gettid()), "ns/net")
}
