// SPDX-License-Identifier: Apache-2.0

// Package demo_test runs the demonstration for real, to its end and interrupted, and looks for what
// it left. It needs root, as runc does.
package demo_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDemoShowsEverythingAndLeavesNothing(t *testing.T) {
	d := start(t, build(t))
	out := d.finish(t, nil)
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("exit status %d:\n%s", code, out)
	}
	for _, want := range []string{
		`"ip": *"172\.19\.1\.2/24"`,
		`64 bytes from 172\.19\.1\.3`,
		`✓ c1 reaches its gateway 172\.19\.1\.1`,
		`✓ c1 reaches the outside 192\.0\.2\.1`,
		`✓ the outside can't reach 172\.19\.1\.2 by itself`,
		`a page from the outside`,
		`✓ the outside's log names the host, 192\.0\.2\.2, as the client`,
		`✓ DEL once more is no error`,
		`nameserver 8\.8\.8\.8\n`,
		`✓ c3 reaches outside\.example by name`,
		`(?s)✓ every address has been given back.*✓ every address has been given back`,
		`(?s)✓ no element is left in the ruleset.*✓ no element is left in the ruleset`,
		`All of it works\.\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("the output lacks %s", want)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours in an output that's no terminal")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// A terminal's Ctrl-C goes to the whole process group, a supervisor's SIGINT or SIGTERM to demo.sh
// alone.
func TestDemoInterruptedLeavesNothing(t *testing.T) {
	bin := build(t)
	for _, c := range []struct {
		name, at string
		signal   syscall.Signal
		group    bool
		exit     int
	}{
		{"ctrl_c_at_the_start", " 1. A host in a box", syscall.SIGINT, true, 130},
		{"ctrl_c_when_attached", " 4. They talk", syscall.SIGINT, true, 130},
		{"sigint_while_the_hook_runs", "    $ start c3", syscall.SIGINT, false, 130},
		{"sigterm_when_attached", " 6. What the host holds", syscall.SIGTERM, false, 143},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := start(t, bin)
			pid, hit := d.cmd.Process.Pid, false
			if c.group {
				pid = -pid
			}
			out := d.finish(t, func(line string) {
				if strings.HasPrefix(line, c.at) && !hit {
					hit = true
					if err := syscall.Kill(pid, c.signal); err != nil {
						t.Error(err)
					}
				}
			})
			if code := d.cmd.ProcessState.ExitCode(); !hit || code != c.exit {
				t.Errorf("signal sent: %v; exit status %d, want %d:\n%s", hit, code, c.exit, out)
			}
		})
	}
}

// build makes the two programs as "make" does, and returns their directory.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"swiftcni", "swiftctl"} {
		cmd := exec.Command("go", "build", "-o", bin+"/", ".")
		cmd.Dir = "../../../cmd/" + name // swiftctl is a module of its own
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	return bin
}

// A demo is one run of demo.sh, and how the machine was before it.
type demo struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	tmp    string
	before []string
}

func start(t *testing.T, bin string) *demo {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: runc does")
	}
	// A process that the demonstration would leave running becomes a child of this process, and is
	// found.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	d := &demo{cmd: exec.Command("./demo.sh"), tmp: t.TempDir(), before: machine(t)}
	d.cmd.Env = append(os.Environ(), "BIN="+bin, "TMPDIR="+d.tmp)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	d.cmd.Stdout, d.cmd.Stderr = write, write
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	d.lines = bufio.NewScanner(read)
	if err := read.SetReadDeadline(time.Now().Add(10 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return d
}

// finish reads the output to its end, showing each line to see, waits, and looks for traces.
func (d *demo) finish(t *testing.T, see func(line string)) string {
	t.Helper()
	var out strings.Builder
	for d.lines.Scan() {
		out.WriteString(d.lines.Text() + "\n")
		if see != nil {
			see(d.lines.Text())
		}
	}
	if err := d.lines.Err(); err != nil {
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGTERM)
		t.Errorf("reading the output: %v", err)
	}
	// The exit status is the tests' to judge.
	_ = d.cmd.Wait()
	d.checkNothingLeft(t)
	return out.String()
}

func (d *demo) checkNothingLeft(t *testing.T) {
	t.Helper()
	if left := children(t); left != "" {
		t.Errorf("processes left: %s", left)
	}
	if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 {
		t.Errorf("files left: %v, %v", left, err)
	}
	cgroup := "swiftcni-demo-" + strconv.Itoa(d.cmd.Process.Pid)
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		if left, err := filepath.Glob(pattern + cgroup); err != nil || len(left) > 0 {
			t.Errorf("cgroups left: %v, %v", left, err)
		}
	}
	if after := machine(t); !slices.Equal(d.before, after) {
		t.Errorf("the machine before:\n%s\nand after:\n%s", strings.Join(d.before, "\n"), strings.Join(after, "\n"))
	}
}

// machine lists what the demonstration must not change: links, the directories that runc, iproute2
// and CNI write to, and mounts at the latter or in temporary directories.
func machine(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{
		"/sys/class/net/*", "/run/netns/*", "/run/runc/*", "/run/ipam-state*", "/var/lib/cni*", "/etc/cni*", "/opt/cni*",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, " "+os.TempDir()+"/") || strings.Contains(line, " /run/netns") {
			all = append(all, line)
		}
	}
	return all
}

// children names the processes that have this one as their parent.
func children(t *testing.T) string {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("can't list children: %v", err)
	}
	var all strings.Builder
	for _, task := range tasks {
		pids, _ := os.ReadFile(task) // a thread that has ended meanwhile has none
		for _, pid := range strings.Fields(string(pids)) {
			name, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			all.WriteString(pid + " (" + strings.ReplaceAll(string(name), "\x00", " ") + ") ")
		}
	}
	return all.String()
}
