// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// Nothing is synced, so a power cut may shorten a lease's content or turn its end into zeros. Its
// name, its directory's mark and its owner's record, which is all name, are whole or not there. The
// rest of the content may read as another owner's: "c1\r\n" is container c1's in host-local's old
// form. The records tell them apart.

// cutShort reports whether text may be the rest of content after a power cut.
func cutShort(text, content string) bool {
	text = strings.TrimRight(text, "\x00")
	return len(text) < len(content) && strings.HasPrefix(content, text)
}

// holds reports whether o, whose record names addr, has its lease. A torn one counts, unless it's
// whole as the lease of another owner whose record names addr too. Then o's record is a promise
// that a crash kept from being fulfilled.
func (s *Store) holds(o Owner, addr netip.Addr) (bool, error) {
	l, err := s.readLease(addr.String())
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, s.pathError("read", addr.String(), err)
	}
	switch {
	case l.form == foreignLease:
		return false, nil
	case l.owner == o || l.form == tornLease:
		return true, nil
	}
	return cutShort(l.text, o.content()) && !s.claims(l.owner, addr), nil
}

// claims reports whether o's record names addr.
func (s *Store) claims(o Owner, addr netip.Addr) bool {
	r, ok, err := s.readRecord(o)
	return err == nil && ok && slices.Contains(r.Addrs, addr)
}

// mend makes torn leases whole, in their files and in held, and removes those that nobody claims.
// untouched says that no other program has changed the leases. Then a claimed lease can only be its
// claimant's. Otherwise a lease without content is one that host-local left when it died, and a
// whole one is one that it wrote.
func (s *Store) mend(records []Record, held map[Owner][]netip.Addr, empty []netip.Addr, untouched bool) error {
	for i := range records {
		r := &records[i]
		for _, a := range r.Addrs {
			if slices.Contains(held[r.Owner], a) {
				continue
			}
			l, err := s.readLease(a.String())
			if err != nil || l.form == foreignLease || !untouched && l.form != oldLease ||
				!cutShort(l.text, r.Owner.content()) || s.claims(l.owner, a) {
				continue
			}
			_ = s.complete(r.Owner, a) // for others; holds knows it as it is
			move(held, l.owner, r.Owner, a)
			empty = slices.DeleteFunc(empty, func(e netip.Addr) bool { return e == a })
		}
	}
	for _, a := range empty {
		if err := unix.Unlinkat(s.fd, a.String(), 0); err != nil && err != unix.ENOENT {
			return s.pathError("remove", a.String(), err)
		}
	}
	return nil
}

// move gives an address to another owner in held.
func move(held map[Owner][]netip.Addr, from, to Owner, a netip.Addr) {
	held[from] = slices.DeleteFunc(held[from], func(h netip.Addr) bool { return h == a })
	if len(held[from]) == 0 {
		delete(held, from)
	}
	held[to] = append(held[to], a)
	order.By(held[to], netip.Addr.Compare)
}

// complete replaces a torn lease by a whole one. It writes nothing to the torn one, which may be a
// second name of a file that isn't ours.
func (s *Store) complete(o Owner, addr netip.Addr) error {
	t, err := s.stageNamed(o.content())
	if err != nil {
		return err
	}
	defer s.drop(&t)
	return unix.Renameat(s.side, stagedName, s.fd, addr.String())
}
