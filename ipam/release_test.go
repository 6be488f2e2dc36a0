// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// TestReleaseAll ends what records name and their owners hold, and nothing else. It leaves one mark, at its end.
func TestReleaseAll(t *testing.T) {
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
	s, err := OpenReadOnly(dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.ReleaseAll(nil); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a store opened for reading gave %v", err)
	}
}
