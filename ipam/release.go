// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"net/netip"
	"slices"
)

// Lookup returns the record of an owner, also if host-local made its leases. ok reports whether it
// holds any. Addrs are those that it really holds. If it has none of its own, the old leases of its
// container count, as for host-local, and the record's Owner has no IfName.
func (s *Store) Lookup(o Owner) (r Record, ok bool, err error) {
	if err := o.validate(); err != nil {
		return Record{}, false, err
	}
	r, err = s.find(o)
	return r, len(r.Addrs) > 0, err
}

// Release ends the leases of an owner. Releasing an owner without leases is not an error. A lease
// of another owner is never removed, whatever the sidecar says of it. Leases go before the record,
// so a crash between them can be mended.
func (s *Store) Release(o Owner) error {
	if s.readOnly {
		return ErrReadOnly
	}
	if err := o.validate(); err != nil {
		return err
	}
	r := s.last
	if !s.hasLast || r.Owner != o {
		var err error
		if r, err = s.find(o); err != nil {
			return err
		}
	}
	if !s.hasLast {
		return nil
	}
	err := s.end(&r)
	if err == nil && r.Owner != o {
		err = s.unlinkRecord(o)
	}
	s.setFlag(flagEnded, true)
	s.setMark()
	return err
}

// ReleaseAll is Release for each of these records, which come from [Store.Records] and haven't
// changed since. It's cheaper, since neither records nor leases are read again.
func (s *Store) ReleaseAll(records []Record) error {
	if s.readOnly {
		return ErrReadOnly
	}
	if err := s.index(); err != nil && !errors.Is(err, errUnmarked) {
		return err
	}
	var failed error
	for _, r := range records {
		if !s.marked { // then it doesn't come from the sidecar, or the sidecar holds something odd
			failed = errors.Join(failed, s.Release(r.Owner))
			continue
		}
		addrs, err := s.verify(r.Owner, slices.Clone(r.Addrs))
		if r.Addrs = addrs; err == nil {
			err = s.end(&r)
		}
		failed = errors.Join(failed, err)
	}
	s.setFlag(flagEnded, true)
	s.setMark()
	return failed
}

// end removes a record and the leases that it names. All of them must have been verified.
func (s *Store) end(r *Record) error {
	s.hasLast = false
	var failed error
	for _, a := range r.Addrs {
		failed = errors.Join(failed, s.unlinkLease(a))
	}
	if failed != nil {
		return failed
	}
	err := s.unlinkRecord(r.Owner)
	if !s.marked {
		return nil // the next rebuild removes the rest of it
	}
	return err
}

// find looks an owner up, by the sidecar. If that can't be mended, it reads all leases. It sets
// hasLast if there is a record, even one without leases.
func (s *Store) find(o Owner) (Record, error) {
	s.last, s.hasLast = Record{}, false
	for range 2 { // the sidecar may turn out damaged, and is then mended
		if s.index() != nil {
			break
		}
		found, err := s.findIndexed(o)
		if err == nil && !found && s.flags&flagOld != 0 {
			_, err = s.findIndexed(Owner{ContainerID: o.ContainerID})
		}
		if err != nil || s.marked {
			return s.last, err
		}
	}
	return s.findScanning(o)
}

// findIndexed reports whether o holds leases, and leaves its record in s.last.
func (s *Store) findIndexed(o Owner) (bool, error) {
	r, ok, err := s.readRecord(o)
	if err != nil || !ok {
		return false, err
	}
	if r.Addrs, err = s.verify(o, r.Addrs); err != nil {
		return false, err
	}
	s.last, s.hasLast = r, true
	return len(r.Addrs) > 0, nil
}

// verify returns those of addrs that o really holds.
func (s *Store) verify(o Owner, addrs []netip.Addr) ([]netip.Addr, error) {
	kept := addrs[:0]
	for _, a := range addrs {
		ok, err := s.holds(o, a)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, a)
		}
	}
	return kept, nil
}

func (s *Store) findScanning(o Owner) (Record, error) {
	held, _, err := s.scan()
	if err != nil {
		return Record{}, err
	}
	for _, o := range []Owner{o, {ContainerID: o.ContainerID}} {
		if addrs := held[o]; len(addrs) > 0 {
			r, _, _ := s.readRecord(o)
			r.Owner, r.Addrs = o, addrs
			s.last, s.hasLast = r, true
			return r, nil
		}
	}
	return Record{}, nil
}

// index makes sure that the sidecar can be trusted.
func (s *Store) index() error {
	if err := s.look(); err != nil {
		return err
	}
	if s.marked {
		return nil
	}
	return s.rebuild(nil)
}
