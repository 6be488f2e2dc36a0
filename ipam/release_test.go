// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// TestReleaseAll ends what records name and their owners hold, and nothing else. It leaves one
// mark, at its end.
func TestReleaseAll(t *testing.T) {
	nstest.FileTimes(t)
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/24 2001:db8::/64")
	for _, id := range []string{"c1", "c2", "c3"} {
		if _, err := reserve(t, dir, Request{Owner: owner(id), Sets: set, Record: evidence}); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, dir)
	var records []Record
	for r, err := range s.Records() {
		if err != nil {
			t.Fatal(err)
		}
		if r.Owner == owner("c1") {
			r.Addrs = append(r.Addrs, netip.MustParseAddr("10.1.0.3")) // c2's
		}
		if r.Owner != owner("c2") {
			records = append(records, r)
		}
	}
	if err := s.ReleaseAll(records); err != nil {
		t.Error(err)
	}
	s.Close()
	got := contents(t, dir)
	if !strings.HasPrefix(got, "10.1.0.3 -rw------- c2|eth0\n2001:db8::3 -rw------- c2|eth0\nlast") || strings.Count(got, "|") != 2 {
		t.Errorf("left\n%s", got)
	}
	if !marked(t, dir) {
		t.Error("no mark was left")
	}
	check(t, dir)
	s, err := OpenReadOnly(context.Background(), dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.ReleaseAll(nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a store opened for reading gave %v", err)
	}
}

// TestEndedLately is told to who reserves within 50 ms of a release, also behind others who do;
// it's forgotten then.
func TestEndedLately(t *testing.T) {
	nstest.FileTimes(t)
	dir, set := t.TempDir(), sets(t, "10.1.0.0/24")
	lately := func(id string) bool {
		t.Helper()
		s := mustOpen(t, dir)
		defer s.Close()
		if _, err := s.Reserve(Request{Owner: owner(id), Sets: set, Record: evidence}); err != nil {
			t.Fatal(err)
		}
		return s.History().EndedLately
	}
	if lately("c1") || lately("c2") {
		t.Error("leases have ended before there were any")
	}
	release := func(id string) {
		t.Helper()
		s := mustOpen(t, dir)
		defer s.Close()
		if err := s.Release(owner(id)); err != nil {
			t.Fatal(err)
		}
	}
	told := false
	for range 50 { // a machine that's busy may not get to it in time
		release("c1")
		told = ReadHistory(dir, "net").EndedLately && lately("c3") && lately("c4")
		if told {
			break
		}
		for _, id := range []string{"c3", "c4"} {
			release(id)
		}
		lately("c1")
	}
	if !told || ReadHistory(dir, "other").EndedLately || ReadHistory(dir, "..").EndedLately {
		t.Errorf("told of a release: %v; of one elsewhere: %v, %v", told, ReadHistory(dir, "other").EndedLately, ReadHistory(dir, "..").EndedLately)
	}
	// The kernel keeps a directory's time in steps of a tick, at most 10 ms.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "net"), &st); err != nil {
			t.Fatal(err)
		}
		if time.Since(time.Unix(st.Ctim.Unix())) > lastingLately {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the directory keeps changing")
		}
	}
	if ReadHistory(dir, "net").EndedLately || lately("c5") {
		t.Error("a release is told of forever")
	}
	check(t, dir)
}
