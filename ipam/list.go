// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"iter"
	"net/netip"
	"strings"
)

// Leases lists the leases in the directory, in no order, including host-local's. Their Prefix is
// the address alone, since subnets aren't kept. A file that has a lease's name and isn't a lease
// comes with an error, and the list goes on.
func (s *Store) Leases() iter.Seq2[Lease, error] {
	return func(yield func(Lease, error) bool) {
		for name, err := range s.names(s.fd, ".") {
			if err != nil {
				yield(Lease{}, err)
				return
			}
			addr, ok := parseAddr(name)
			if !ok {
				continue
			}
			l := Lease{Prefix: netip.PrefixFrom(addr, addr.BitLen())}
			file, err := s.readLease(name)
			l.Owner = file.owner
			switch {
			case err != nil:
				err = s.pathError("read", name, err)
			case file.form == tornLease:
				err = s.pathError("read", name, invalidError("the lease is empty: its writer died"))
			case file.form == foreignLease:
				err = s.pathError("read", name, invalidError("not a lease"))
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// Records lists the record of each owner, in no order. Owners whose leases host-local made are
// among them, without evidence. After a crash, a record may name an address that its owner doesn't
// hold. [Store.Lookup] tells. The listed owners may be released while the list goes on.
func (s *Store) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if s.index() != nil {
			s.recordsByScan(yield)
			return
		}
		for r, err := range s.sideRecords() {
			s.Witness(&r)
			if !yield(r, err) {
				return
			}
		}
	}
}

// sideRecords lists the records in the sidecar.
func (s *Store) sideRecords() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for name, err := range s.names(s.side, ".") {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if strings.HasPrefix(name, "@") {
				continue
			}
			r, ok, err := s.readRecordNamed(name)
			if err == nil && !ok {
				continue // gone meanwhile, or damaged and mended by the next rebuild
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// Leaseless lists the owners of records that hold no lease, in no order. Another program, such as
// host-local, has ended their leases. The records end when the store is next opened for a change.
func (s *Store) Leaseless() iter.Seq2[Owner, error] {
	return func(yield func(Owner, error) bool) {
		if s.side < 0 {
			return
		}
		for r, err := range s.sideRecords() {
			var held bool
			if err == nil {
				held, err = s.holdsAny(&r)
			}
			if !held && !yield(r.Owner, err) {
				return
			}
		}
	}
}

// holdsAny reports whether a record's owner holds one of its addresses.
func (s *Store) holdsAny(r *Record) (bool, error) {
	for _, a := range r.Addrs {
		if held, err := s.holds(r.Owner, a); held || err != nil {
			return held, err
		}
	}
	return false, nil
}

// recordsByScan lists owners from their leases, for a sidecar that can't be mended.
func (s *Store) recordsByScan(yield func(Record, error) bool) {
	held, _, err := s.scan()
	if err != nil {
		yield(Record{}, err)
		return
	}
	for o, addrs := range held {
		r, _, _ := s.readRecord(o)
		r.Owner, r.Addrs = o, addrs
		s.Witness(&r)
		if !yield(r, nil) {
			return
		}
	}
}
