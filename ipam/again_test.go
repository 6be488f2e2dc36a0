// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"strconv"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// While a network's IPv6 addresses are all new, nobody can know one by another MAC; once one isn't,
// anybody can until the next boot.
func TestOtherMACs6(t *testing.T) {
	nstest.FileTimes(t)
	const boot, next = "11111111-2222-3333-4444-555555555555", "21111111-2222-3333-4444-555555555555"
	n := 0
	reused := func(dir, ranges, want, boot string) bool {
		t.Helper()
		n++
		s := mustOpen(t, dir)
		defer s.Close()
		record := evidence
		record.Boot = boot
		o := owner("c" + strconv.Itoa(n))
		if _, err := s.Reserve(Request{Owner: o, Sets: sets(t, ranges), Want: addrs(want), OtherMAC6: true, Record: record}); err != nil {
			t.Fatal(err)
		}
		got := s.History().OtherMACs6
		if s.History().OtherMACs {
			t.Error("OtherMACs, which isn't asked for")
		}
		if err := s.Release(o); err != nil {
			t.Fatal(err)
		}
		return got
	}
	const large, one = "10.1.0.0/30 fd00::/64", "10.1.0.0/28 fd00::/126"
	for name, steps := range map[string][]struct {
		want string
		is   bool
	}{
		large: {{"", false}, {"", false}, {"", false}, {"fd00::9", false}, {"", false}, {"fd00::9", true}, {"", true}},
		one:   {{"", false}, {"", false}, {"", true}, {"", true}},
	} {
		dir := t.TempDir()
		for i, s := range steps {
			if got := reused(dir, name, s.want, boot); got != s.is {
				t.Errorf("%s, reservation %d: %v, want %v", name, i, got, s.is)
			}
		}
		if reused(dir, large, "fd00::99", next) {
			t.Errorf("%s: after a boot neighbours know nothing", name)
		}
	}
	// A set that has given nothing yet in a network that has: its addresses may have been another
	// set's.
	dir := t.TempDir()
	reused(dir, "fd00::/64", "", boot)
	if !reused(dir, "10.1.0.0/24 fd00::/64", "", boot) {
		t.Error("a set in another place forgets what its addresses were")
	}
}
