// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/test/oldkernel"
	"golang.org/x/sys/unix"
)

// A world is a host and its containers: a network namespace for the host and one for each
// container, and a mount namespace in which /run and /var/lib are empty. Worlds don't see one
// another, so tests may run side by side and use the same paths.
type world struct {
	t        testing.TB
	dir      string           // where commands run
	mnt, net *os.File         // the host's
	nets     []string         // containers, by the name of their file in /run/netns
	kernel   oldkernel.Kernel // of the plugins and residents; 0 is the machine's

	calls
}

// newWorld makes a host, which lives until the test ends and must be clean by then.
func newWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, kernel: kernelOfRun(t), calls: newCalls()}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWNET); err != nil {
			return err
		}
		for _, m := range []struct{ kind, at string }{{"sysfs", "/sys"}, {"tmpfs", "/run"}, {"tmpfs", "/var/lib"}} {
			if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
				return fmt.Errorf("mount %s: %w", m.at, err)
			}
		}
		if err := os.Mkdir("/run/netns", 0o755); err != nil {
			return err
		}
		if w.mnt, err = os.Open(threadFile("mnt")); err != nil {
			return err
		}
		w.net, err = os.Open(threadFile("net"))
		return err
	})
	if err != nil {
		t.Fatalf("new world: %v", err)
	}
	t.Cleanup(func() {
		w.mnt.Close()
		w.net.Close()
	})
	if out, err := w.exec("", "ip", "link", "set", "lo", "up"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return w
}

// onThread runs fn on a thread that's never used again, so fn may change what belongs to a thread.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- fn()
	}()
	return <-done
}

func threadFile(kind string) string {
	return filepath.Join("/proc/self/task", strconv.Itoa(unix.Gettid()), "ns", kind)
}

// do runs fn as the host, or as a container if name isn't empty.
func (w *world) do(name string, fn func() error) error {
	return onThread(func() error {
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		if err := unix.Setns(int(w.mnt.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the host's mounts: %w", err)
		}
		if err := os.Chdir(w.dir); err != nil {
			return err
		}
		ns := w.net
		if name != "" {
			f, err := os.Open(netnsPath(name))
			if err != nil {
				return err
			}
			defer f.Close()
			ns = f
		}
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter %q: %w", name, err)
		}
		return fn()
	})
}

func netnsPath(name string) string { return "/run/netns/" + name }

// netns makes a container's namespace at /run/netns/NAME.
func (w *world) netns(name string) error {
	err := w.do("", func() error {
		if err := os.WriteFile(netnsPath(name), nil, 0o644); err != nil {
			return err
		}
		// The host's namespace is a descriptor, so this thread may leave it.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount(threadFile("net"), netnsPath(name), "", unix.MS_BIND, "")
	})
	if err == nil {
		w.nets = append(w.nets, name)
	}
	return err
}

// vanish ends a container's namespace. With leave, the plain file that it was mounted on stays.
func (w *world) vanish(name string, leave bool) error {
	w.nets = without(w.nets, name)
	return w.do("", func() error {
		if err := unix.Unmount(netnsPath(name), unix.MNT_DETACH); err != nil {
			return err
		}
		if leave {
			return nil
		}
		return os.Remove(netnsPath(name))
	})
}

func without(list []string, name string) []string {
	var rest []string
	for _, s := range list {
		if s != name {
			rest = append(rest, s)
		}
	}
	return rest
}

// exec runs a program as the host or a container and returns all that it printed. A listing that
// changes overtook is made again: a DEL leaves links to the kernel, which removes them meanwhile.
func (w *world) exec(name, program string, args ...string) (string, error) {
	for {
		var out bytes.Buffer
		cmd := exec.Command(program, args...)
		cmd.Stdout, cmd.Stderr = &out, &out
		err := w.start(name, cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if !nstest.Overtaken(out.String()) {
			return out.String(), err
		}
	}
}

// start starts a command as the host or a container.
func (w *world) start(name string, cmd *exec.Cmd) error {
	return w.do(name, cmd.Start)
}

// startPlugin starts a plugin or a resident on the host, by the world's kernel.
func (w *world) startPlugin(cmd *exec.Cmd) error {
	return w.do("", func() error {
		if w.kernel != 0 {
			if err := w.kernel.Enter(oldkernel.Calls...); err != nil {
				return err
			}
		}
		return cmd.Start()
	})
}

// must runs a program and ends the test if it fails.
func (w *world) must(name, program string, args ...string) string {
	w.t.Helper()
	out, err := w.exec(name, program, args...)
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return out
}
