// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// traced runs the helper and returns the names of its system calls between the marks, without those
// of the runtime itself.
func traced(t *testing.T, inject []string, words ...string) []string {
	nstest.Needs(t, "strace")
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	if out, err := helper(append([]string{"-f", "-qqq", "-o", file}, inject...), words...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v, %s", words, err, out)
	}
	trace, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	thread := ""
	for line := range strings.Lines(string(trace)) {
		pid, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, found := strings.Cut(strings.TrimSpace(call), "(")
		switch {
		case strings.Contains(line, beginMark):
			thread = pid
		case strings.Contains(line, endMark):
			return calls
		case pid != thread || !found || strings.Contains(call, "resumed>"):
		case slices.Contains([]string{"futex", "nanosleep", "sched_yield", "madvise", "rt_sigreturn", "mmap", "munmap", "getpid", "tgkill", "epoll_pwait", "clone", "clone3", "rt_sigprocmask", "read(eventfd"}, name):
		default:
			calls = append(calls, name)
		}
	}
	t.Fatalf("no end in\n%s", trace)
	return nil
}

const (
	openCalls    = "openat openat flock openat2 "
	closeCalls   = " flock close close close"
	reserveCalls = openCalls + "fstat readlinkat openat read openat write symlinkat linkat pwrite64 utimensat close close" + closeCalls
	releaseCalls = openCalls + "fstat readlinkat openat read close unlinkat unlinkat utimensat" + closeCalls
	missCalls    = openCalls + "fstat readlinkat" + closeCalls
)

// TestSystemCalls holds the number of system calls, which mustn't grow with the node.
func TestSystemCalls(t *testing.T) {
	nstest.Full(t, "it takes long")
	for _, n := range []int{1, 1000, 60000} {
		dir, err := os.MkdirTemp("/run", "ipam")
		if err != nil {
			t.Fatal(err)
		}
		seed(t, dir, "10.0.0.0/12", n)
		expect := func(verb, want string) {
			t.Helper()
			got := strings.Join(traced(t, nil, verb, dir, "c1", "10.0.0.0/12"), " ")
			if got != want {
				t.Errorf("%s with %d leases:\n%s, want\n%s", verb, n, got, want)
			}
		}
		expect("reserve", reserveCalls)
		expect("lookup", openCalls+"fstat readlinkat openat read close"+closeCalls)
		expect("release", releaseCalls)
		expect("release", missCalls)
		expectNearlyFull(t, dir, n)
		os.RemoveAll(dir)
	}
}

// expectNearlyFull leaves one address free, far behind where the search begins.
func expectNearlyFull(t *testing.T, dir string, n int) {
	full := nearlyFull(t, dir, n)
	req := Request{Owner: owner("first"), Sets: full, Record: evidence}
	for range 2 { // makes the bitmap, then has it
		if _, err := reserve(t, dir, req); err != nil {
			t.Fatal(err)
		}
		if n < 1000 {
			return
		}
		release(t, dir, req.Owner)
	}
	write(t, dir, "last_reserved_ip.0", "10.0.0.2")
	s := mustOpen(t, dir)
	if s.look(); !s.marked || s.flags&flagTaken == 0 {
		t.Error("the bitmap isn't kept")
	}
	s.Close()
	got := traced(t, nil, "reserve", dir, "c1", "10.0.0.0/12")
	if want := len(strings.Fields(reserveCalls)) + 7 + 2*3 + 4; len(got) > want {
		t.Errorf("%d system calls in a range with %d leases: %s", len(got), n, strings.Join(got, " "))
	}
	got = traced(t, nil, "release", dir, "c1", "10.0.0.0/12")
	if want := len(strings.Fields(releaseCalls)) + 4; len(got) > want {
		t.Errorf("%d system calls to release from a range with %d leases: %s", len(got), n, strings.Join(got, " "))
	}
	check(t, dir)
}

// TestWithoutUnnamedFiles works on a file system that doesn't know O_TMPFILE, and without the right
// to link by descriptor.
func TestWithoutUnnamedFiles(t *testing.T) {
	nstest.Kernel(t)
	dir := t.TempDir()
	mustReserve(t, dir, Request{Owner: owner("c0"), Sets: sets(t, "10.1.0.0/24")}, "10.1.0.2")
	for i, inject := range []string{"openat:error=EOPNOTSUPP", "linkat:error=ENOENT"} {
		// Count the calls of a run to find the one to fail: the fourth openat, or the first linkat,
		// behind the mark.
		o := fmt.Sprint("c", i+1)
		when := 1
		if i == 0 {
			when = countBefore(t, dir, "openat") + 4
		}
		traced(t, []string{"-e", "inject=" + inject + fmt.Sprintf(":when=%d", when)}, "reserve", dir, o, "10.1.0.0/24")
	}
	want := "10.1.0.2 -rw------- c0|eth0\n10.1.0.4 -rw------- c1|eth0\n10.1.0.5 -rw------- c2|eth0\nlast_reserved_ip.0 -rw------- 10.1.0.5\nlock -rwxr-x--- \n"
	if got := contents(t, dir); got != want {
		t.Errorf("the directory holds\n%swant\n%s", got, want)
	}
	if left, _ := filepath.Glob(dir + "/.swiftcni/net/@*"); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	check(t, dir)
}

// TestWithoutOpenat2 works on kernels before 5.6, and under filters that refuse what they don't
// know. A link is followed there as little.
func TestWithoutOpenat2(t *testing.T) {
	nstest.Kernel(t)
	for _, inject := range []string{"openat2:error=ENOSYS", "openat2:error=EPERM"} {
		dir := t.TempDir()
		inject := []string{"-e", "inject=" + inject}
		traced(t, inject, "reserve", dir, "c1", "10.1.0.0/24")
		check(t, dir)
		calls := strings.Join(traced(t, inject, "reserve", dir, "c2", "10.1.0.0/24"), " ")
		if !strings.Contains(calls, "openat2 openat openat close openat close fstat readlinkat") {
			t.Errorf("%v: %s", inject, calls)
		}
		check(t, dir)
		outside := t.TempDir()
		if err := errors.Join(os.RemoveAll(dir+"/.swiftcni"), os.Symlink(outside, dir+"/.swiftcni")); err != nil {
			t.Fatal(err)
		}
		if out, err := helper(append([]string{"-f", "-qqq", "-o", "/dev/null"}, inject...), "reserve", dir, "c3", "10.1.0.0/24").CombinedOutput(); err == nil {
			t.Errorf("%v: a link was followed: %s", inject, out)
		}
		if left, err := os.ReadDir(outside); len(left) > 0 || err != nil {
			t.Errorf("%v: %v, %v outside", inject, left, err)
		}
	}
}

// countBefore counts a system call in what the helper does before its mark. The reservation that it
// needs for that is given back.
func countBefore(t *testing.T, dir, name string) int {
	nstest.Needs(t, "strace")
	t.Helper()
	file := filepath.Join(t.TempDir(), "trace")
	if out, err := helper([]string{"-f", "-qqq", "-o", file}, "reserve", dir, "count", "10.1.0.0/24").CombinedOutput(); err != nil {
		t.Fatalf("%v, %s", err, out)
	}
	release(t, dir, owner("count"))
	trace, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(trace), beginMark)
	return strings.Count(before, " "+name+"(")
}

// TestFailedAnywhere lets each system call of a reservation fail once: all or nothing.
func TestFailedAnywhere(t *testing.T) {
	nstest.Kernel(t)
	nstest.Needs(t, "strace")
	set := sets(t, crashSets)
	failures := 0
	for _, call := range crashCalls {
		for n := 1; ; n++ {
			dir, err := os.MkdirTemp("/run", "ipam")
			if err != nil {
				t.Fatal(err)
			}
			mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}, "10.1.0.2 2001:db8::2")
			before := contents(t, dir)
			file := dir + "/trace"
			out, err := helper([]string{"-f", "-qqq", "-o", file, "-e", fmt.Sprintf("inject=%s:error=ENOSPC:when=%d", call, n)}, "reserve", dir, "victim", crashSets).CombinedOutput()
			trace, _ := os.ReadFile(file)
			if !strings.Contains(string(trace), "INJECTED") {
				break
			}
			failures++
			held := strings.Count(contents(t, dir), "victim")
			if err == nil && held != 2 || err != nil && held != 0 {
				t.Errorf("%s %d: %d leases after %v, %s", call, n, held, err, out)
			}
			if _, rerr := os.Lstat(dir + "/.swiftcni/net/victim:eth0"); err != nil && rerr == nil {
				t.Errorf("%s %d: a record after %v, %s", call, n, err, out)
			}
			if !strings.Contains(contents(t, dir), strings.Split(before, "last")[0]) && held == 0 {
				t.Errorf("%s %d: the directory holds\n%s", call, n, contents(t, dir))
			}
			check(t, dir)
			release(t, dir, owner("victim"))
			check(t, dir)
			os.RemoveAll(dir)
		}
	}
	if failures < 15 {
		t.Errorf("only %d failures", failures)
	}
}
