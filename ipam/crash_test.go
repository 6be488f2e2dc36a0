// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

const (
	helperVar = "SWIFTCNI_TEST_HELPER" // "VERB DIR OWNER SETS", for runHelper
	beginMark = "/swiftcni-test-begin"
	endMark   = "/swiftcni-test-end"
)

// runHelper is what tests run in a process of its own, to be killed or traced. It returns the exit
// code.
func runHelper(words []string) int {
	runtime.LockOSThread()
	var set []RangeSet
	for subnet := range strings.FieldsSeq(words[3]) {
		r, err := Range{Subnet: netip.MustParsePrefix(subnet)}.Canonical()
		if err != nil {
			panic(err)
		}
		set = append(set, RangeSet{r})
	}
	o := owner(words[2])
	_ = unix.Access(beginMark, 0)
	s, err := Open(context.Background(), words[1], "net")
	if err == nil {
		switch words[0] {
		case "release":
			err = s.Release(o)
		case "lookup":
			_, _, err = s.Lookup(o)
		default:
			_, err = s.Reserve(Request{Owner: o, Sets: set, Record: evidence, Alive: nobody})
		}
		s.Close()
	}
	_ = unix.Access(endMark, 0)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// helper returns the command that runs runHelper under strace with the given arguments.
func helper(strace []string, words ...string) *exec.Cmd {
	cmd := exec.Command("strace", append(strace, os.Args[0])...)
	cmd.Env = append(os.Environ(), helperVar+"="+strings.Join(words, " "), "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1")
	return cmd
}

// crashCalls are the system calls at which a change can be cut short.
var crashCalls = []string{"openat", "mkdirat", "linkat", "symlinkat", "unlinkat", "renameat", "pwrite64", "write", "utimensat", "flock", "fstat", "readlinkat"}

// TestKilledAnywhere kills a reservation or a release before each of its system calls. Afterwards
// nothing is given twice, the store is sound after its own repair, and a release leaves nothing.
func TestKilledAnywhere(t *testing.T) {
	nstest.Full(t, "it takes long")
	tests := []struct{ name, verb, prepare string }{
		{"first_reserve", "reserve", ""},
		{"reserve", "reserve", "c1 c2"},
		{"reserve_again", "reserve", "c1 victim"},
		{"reserve_past_taken", "reserve", "c1 taken"},
		{"reserve_unmarked", "reserve", "c1 unmark"},
		{"release", "release", "c1 victim c2"},
		{"release_unmarked", "release", "c1 victim unmark"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kills := 0
			for _, call := range crashCalls {
				for n := 1; ; n++ {
					dir, err := os.MkdirTemp("/run", "ipam")
					if err != nil {
						t.Fatal(err)
					}
					killed := killAt(t, dir, tt.verb, tt.prepare, call, n)
					os.RemoveAll(dir)
					if !killed {
						break
					}
					kills++
				}
			}
			t.Logf("killed %d times", kills)
			if kills < 10 {
				t.Errorf("killed %d times only", kills)
			}
		})
	}
}

const crashSets = "10.1.0.0/24 2001:db8::/64"

func killAt(t *testing.T, dir, verb, prepare, call string, n int) bool {
	set := sets(t, crashSets)
	for word := range strings.FieldsSeq(prepare) {
		switch word {
		case "taken":
			for i := range 6 {
				write(t, dir, fmt.Sprint("10.1.0.", 3+i), "reference\r\neth0")
			}
			check(t, dir)
		case "unmark":
			write(t, dir, "10.1.0.77", "")
			write(t, dir, "10.1.0.78", "reference\r\neth0")
		default:
			if _, err := reserve(t, dir, Request{Owner: owner(word), Sets: set, Record: evidence}); err != nil {
				t.Fatal(err)
			}
		}
	}
	strace := []string{"-f", "-qqq", "-o", "/dev/null", "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n)}
	out, err := helper(strace, verb, dir, "victim", crashSets).CombinedOutput()
	if err == nil {
		return false
	}
	if len(out) > 0 {
		t.Fatalf("the helper failed by itself: %v, %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "net")); err != nil {
		return true // killed before it began
	}
	where := fmt.Sprintf("killed at %s %d", call, n)
	s := mustOpen(t, dir)
	if err := s.Check(); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	s.Close()
	before := contents(t, dir)
	leases, err := reserve(t, dir, Request{Owner: owner("next"), Sets: set, Record: evidence, Alive: nobody})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for a := range strings.FieldsSeq(leases) {
		if strings.Contains(before, "\n"+a+" ") || strings.HasPrefix(before, a+" ") {
			t.Fatalf("%s: %s was given twice, it was in\n%s", where, a, before)
		}
	}
	release(t, dir, owner("victim"))
	if got := contents(t, dir); strings.Contains(got, "victim") || strings.Count(got, " next|") != 2 {
		t.Fatalf("%s: a release left\n%s", where, got)
	}
	if _, err := reserve(t, dir, Request{Owner: owner("victim"), Sets: set, Record: evidence}); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	check(t, dir)
	return true
}
