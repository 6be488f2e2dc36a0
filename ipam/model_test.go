// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// model is what the store should hold.
type model struct {
	dir  string
	held map[netip.Addr]Owner
	own  map[Owner]string // the boot in an owner's evidence
	boot string
}

// TestAgainstModel does everything at random that happens to a directory: our work, the
// reference's, crashes, reboots, careless people. Nothing is given twice, nothing is lost, and
// every state checks.
func TestAgainstModel(t *testing.T) {
	rng, rounds := seeded(t), 6
	if testing.Short() {
		rounds = 2
	}
	for range rounds {
		dir, err := os.MkdirTemp("/run", "ipam")
		if err != nil {
			t.Fatal(err)
		}
		m := &model{dir: dir, held: make(map[netip.Addr]Owner), own: make(map[Owner]string), boot: "boot0"}
		set := sets(t, "10.0.0.0/28,10.0.4.0/29 2001:db8::/124")
		for step := range 150 {
			m.step(t, rng, set, step)
			m.compare(t, step)
		}
		for o := range owners() {
			release(t, dir, o)
		}
		if left, _ := filepath.Glob(dir + "/.swiftcni/net/*:*"); len(left) != 0 {
			t.Errorf("left %v", left)
		}
		os.RemoveAll(dir)
	}
}

func owners() func(func(Owner) bool) {
	return func(yield func(Owner) bool) {
		for i := range 24 {
			if !yield(owner(fmt.Sprint("c", i))) {
				return
			}
		}
	}
}

func (m *model) step(t *testing.T, rng *rand.Rand, set []RangeSet, step int) {
	o := owner(fmt.Sprint("c", rng.IntN(24)))
	side := m.dir + "/.swiftcni/net"
	switch n := rng.IntN(20); {
	case n < 9:
		m.reserve(t, o, set, step)
	case n < 14:
		release(t, m.dir, o)
		m.drop(o)
	case n == 14: // the reference reserves
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + rng.IntN(12))})
		if _, taken := m.held[a]; !taken && !m.holds(o) {
			write(t, m.dir, a.String(), o.content())
			m.held[a] = o
		}
	case n == 15: // the reference releases
		for a, holder := range m.held {
			if holder == o {
				os.Remove(filepath.Join(m.dir, "net", a.String()))
			}
		}
		m.drop(o)
	case n == 16: // the reference dies
		a := netip.AddrFrom4([4]byte{10, 0, 4, byte(2 + rng.IntN(4))})
		if _, taken := m.held[a]; !taken {
			write(t, m.dir, a.String(), "")
		}
	case n == 17:
		os.RemoveAll(side)
		clear(m.own)
	case n == 18:
		name := filepath.Join(side, recordName(o))
		if os.Remove(name) == nil {
			os.Symlink("torn", name)
			delete(m.own, o)
		}
	case n == 19 && rng.IntN(3) == 0:
		m.boot = fmt.Sprint("boot", step)
	}
}

func (m *model) reserve(t *testing.T, o Owner, set []RangeSet, step int) {
	held := m.holds(o)
	record := evidence
	record.Boot = m.boot
	alive := func(r Record) bool { return r.Boot == m.boot }
	got, err := reserve(t, m.dir, Request{Owner: o, Sets: set, Record: record, Alive: alive})
	// Leases with evidence of another boot may be gone now, or somebody else's.
	for a, holder := range m.held {
		content, _ := os.ReadFile(filepath.Join(m.dir, "net", a.String()))
		if string(content) == holder.content() {
			continue
		}
		if boot := m.own[holder]; boot == "" || boot == m.boot {
			t.Fatalf("step %d: %v lost %v without proof of death", step, holder, a)
		}
		delete(m.held, a)
	}
	if err != nil {
		return
	}
	if held && m.holds(o) && (m.own[o] == "" || m.own[o] == m.boot) {
		t.Fatalf("step %d: %v has a second lease", step, o)
	}
	for _, a := range addrs(got) {
		if holder, taken := m.held[a]; taken && m.own[o] == m.boot {
			t.Fatalf("step %d: %v was given to %v and belongs to %v", step, a, o, holder)
		}
		m.held[a] = o
	}
	m.own[o] = m.boot
}

func (m *model) holds(o Owner) bool {
	for _, holder := range m.held {
		if holder == o {
			return true
		}
	}
	return false
}

func (m *model) drop(o Owner) {
	for a, holder := range m.held {
		if holder == o {
			delete(m.held, a)
		}
	}
	delete(m.own, o)
}

// compare checks the store and looks every owner up.
func (m *model) compare(t *testing.T, step int) {
	if m.boot == "boot0" && step == 0 {
		return // maybe there's no directory yet
	}
	s := mustOpen(t, m.dir)
	defer s.Close()
	for o := range owners() {
		r, ok, err := s.Lookup(o)
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		var want []netip.Addr
		for a, holder := range m.held {
			if holder == o {
				want = append(want, a)
			}
		}
		slices.SortFunc(want, netip.Addr.Compare)
		slices.SortFunc(r.Addrs, netip.Addr.Compare)
		if ok != (len(want) > 0) || !slices.Equal(r.Addrs, want) {
			t.Fatalf("step %d: %v holds %v by look-up, %v by right", step, o, r.Addrs, want)
		}
	}
	if err := s.Check(); err != nil {
		t.Fatalf("step %d: %v", step, err)
	}
}
