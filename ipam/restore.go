// SPDX-License-Identifier: Apache-2.0

package ipam

import "golang.org/x/sys/unix"

// Trusted reports whether the sidecar is the truth. It isn't if another program has changed or lost
// leases since the last operation, nor in a new directory.
func (s *Store) Trusted() (bool, error) {
	err := s.look()
	return s.marked, err
}

// Restore gives leases back to attachments that live although their leases were lost, as when the
// directory was wiped. Each record names an owner, its addresses and its evidence. An address that
// has a lease stays its holder's. Then the sidecar is made to agree.
func (s *Store) Restore(live []Record) error {
	if s.readOnly {
		return ErrReadOnly
	}
	if len(live) == 0 {
		return nil
	}
	if err := s.makeSidecar(); err != nil {
		return err
	}
	for i := range live {
		if err := s.restoreLeases(&live[i]); err != nil {
			return err
		}
	}
	if err := s.rebuild(&Request{Record: Record{Boot: live[0].Boot}}); err != nil {
		return err
	}
	for i := range live {
		if err := s.restoreEvidence(&live[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) restoreLeases(r *Record) error {
	if err := r.Owner.validate(); err != nil {
		return err
	}
	if err := r.validEvidence(); err != nil {
		return err
	}
	tmp, err := s.stage(r.Owner.content(), "")
	if err != nil {
		return err
	}
	defer s.drop(&tmp)
	for _, a := range r.Addrs {
		if err := s.publish(&tmp, a); err != nil && err != unix.EEXIST {
			return s.pathError("restore", a.String(), err)
		}
	}
	return nil
}

// restoreEvidence completes a record that was made from leases alone. The leases' directory isn't
// touched.
func (s *Store) restoreEvidence(live *Record) error {
	r, ok, err := s.readRecord(live.Owner)
	if err != nil || !ok || r.Boot != "" {
		return err
	}
	r.Boot, r.NetNS, r.Link, r.Index, r.MAC = live.Boot, live.NetNS, live.Link, live.Index, live.MAC
	r.Prefixes = live.Prefixes
	return s.writeRecord(&r, true)
}
