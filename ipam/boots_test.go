// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// bootsIn lists what the sidecar knows of boots.
func bootsIn(t *testing.T, dir string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, sidecarDir, "net", bootPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range list {
		list[i] = strings.TrimPrefix(filepath.Base(list[i]), bootPrefix)
	}
	return strings.Join(list, " ")
}

// A boot's ID is asked about once. The answer stays for as long as a record names it.
func TestTrueBoots(t *testing.T) {
	dir, set := t.TempDir(), sets(t, "10.1.0.0/24")
	asked := 0
	seen := map[string]bool{}
	request := func(id, boot string, known bool) Request {
		r := Request{Owner: owner(id), Sets: set, Record: evidence}
		r.Record.Boot = boot
		r.TrueBoot = func() bool { asked++; return known }
		r.Alive = func(r Record) bool { seen[r.Boot] = r.TrueBoot && !r.Shared; return r.Owner != owner("c1") }
		return r
	}
	reserveAll := func(boot string, known bool, want string, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if _, err := reserve(t, dir, request(id, boot, known)); err != nil {
				t.Fatal(err)
			}
		}
		if got := bootsIn(t, dir); got != want {
			t.Errorf("known boots: %q, want %q", got, want)
		}
		check(t, dir)
	}
	reserveAll("first", true, "first first.true", "c1", "c2")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	reserveAll("mounted", false, "first first.true mounted", "c3", "c4")
	if !seen["first"] {
		t.Error("the first boot's ID isn't known to be the kernel's any more")
	}
	release(t, dir, owner("c2")) // c1 was dead
	reserveAll("third", true, "mounted third third.true", "c5")
	if seen["mounted"] {
		t.Error("the ID that was mounted is taken for the kernel's")
	}
	s := mustOpen(t, dir)
	defer s.Close()
	for r, err := range s.Records() {
		if err != nil || r.TrueBoot != (r.Boot == "third") {
			t.Errorf("%v, %v", r, err)
		}
	}
}

// Callers that see different boot IDs don't make each other read all leases.
func TestBootIDsByTurns(t *testing.T) {
	dir, set := t.TempDir(), sets(t, "10.1.0.0/24")
	asked := 0
	for i := range 20 {
		req := Request{Owner: owner(fmt.Sprint("c", i)), Sets: set, Record: evidence, Alive: func(Record) bool { asked++; return true }}
		req.Record.Boot = fmt.Sprint("boot", i%2)
		if _, err := reserve(t, dir, req); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times who lives", asked)
	}
}

// An attachment that can't be ended at the first reservation of a boot stays, and keeps nobody from
// an address.
func TestEndingFailsAfterABoot(t *testing.T) {
	dir, set := t.TempDir(), sets(t, "10.1.0.0/24")
	if _, err := reserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}); err != nil {
		t.Fatal(err)
	}
	for i, ending := range []error{ErrReadOnly, nil} {
		req := Request{Owner: owner(fmt.Sprint("next", i)), Sets: set, Record: evidence, Alive: func(r Record) bool { return r.Owner != owner("c1") },
			Ending: func(Record) error { return ending }}
		req.Record.Boot = fmt.Sprint("boot", i)
		if _, err := reserve(t, dir, req); err != nil {
			t.Fatal(err)
		}
		if lives := strings.Contains(contents(t, dir), "c1|"); lives != (ending != nil) {
			t.Errorf("ending gave %v: the lease is there: %v", ending, lives)
		}
		check(t, dir)
	}
}
