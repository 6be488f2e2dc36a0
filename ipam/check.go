// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// Check reads everything and returns all problems, joined. Each is an [*fs.PathError] of a file,
// and [ErrInvalid] if its content is wrong. Check first mends the remains of a crash, unless the
// store is read-only. These are the invariants: every file whose name is an address is a lease;
// every lease's owner has a record that names it; every record is whole, under its owner's name;
// the bitmap, if it's kept, shows exactly the leases.
func (s *Store) Check() error {
	if err := s.index(); err != nil && !errors.Is(err, errUnmarked) {
		return err
	}
	held := make(map[Owner][]netip.Addr)
	var taken []netip.Addr
	var wrong []error
	for l, err := range s.Leases() {
		if l.Prefix.IsValid() {
			taken = append(taken, l.Prefix.Addr())
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		held[l.Owner] = append(held[l.Owner], l.Prefix.Addr())
	}
	if !s.marked {
		return errors.Join(wrong...)
	}
	wrong = append(wrong, s.checkRecords(held)...)
	wrong = append(wrong, s.checkTaken(taken)...)
	return errors.Join(wrong...)
}

func (s *Store) checkRecords(held map[Owner][]netip.Addr) (wrong []error) {
	complain := func(name, text string) {
		wrong = append(wrong, s.pathError("check", s.sidePath(name), invalidError(text)))
	}
	for name, err := range s.names(s.side, ".") {
		if err != nil {
			return append(wrong, err)
		}
		if strings.HasPrefix(name, "@") {
			continue
		}
		r, ok, err := s.readRecordNamed(name)
		if err != nil || !ok {
			complain(name, "not a record")
			continue
		}
		for _, a := range held[r.Owner] {
			if !slices.Contains(r.Addrs, a) {
				complain(name, "doesn't name the lease of "+a.String())
			}
		}
		delete(held, r.Owner)
	}
	for o := range held {
		complain(recordName(o), "a lease without record")
	}
	return wrong
}

func (s *Store) checkTaken(taken []netip.Addr) (wrong []error) {
	if s.flags&flagTaken == 0 {
		return nil
	}
	blocks := make(map[netip.Addr]*block)
	for _, a := range taken {
		base, place := blockOf(a)
		if blocks[base] == nil {
			blocks[base] = new(block)
		}
		blocks[base].set(place)
	}
	for name, err := range s.names(s.side, takenDir) {
		if err != nil {
			return append(wrong, err)
		}
		base, ok := parseAddr(name)
		if !ok {
			continue
		}
		kept, err := s.readBlock(base)
		want := blocks[base]
		if want == nil {
			want = new(block)
		}
		if err != nil || *kept != *want {
			wrong = append(wrong, s.pathError("check", s.sidePath(takenPath(base)), invalidError("the bitmap doesn't agree with the leases")))
		}
		delete(blocks, base)
	}
	for base := range blocks {
		wrong = append(wrong, s.pathError("check", s.sidePath(takenPath(base)), invalidError("the bitmap lacks leases")))
	}
	return wrong
}
