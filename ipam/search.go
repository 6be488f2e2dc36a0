// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// patience is how many addresses are asked for one by one before the bitmap is used.
const patience = 4

// take publishes the lease of p. If p's address is taken, it goes on to the next free one.
func (r *reservation) take(i int, p *pick) error {
	for reclaimed := false; ; {
		err := r.s.publish(&r.tmp, p.addr)
		if err == nil {
			return nil
		}
		if err != unix.EEXIST {
			return r.s.pathError("reserve", p.addr.String(), err)
		}
		if !r.advance(i, p) {
			if reclaimed {
				return &ExhaustedError{Set: i, RangeSet: r.req.Sets[i]}
			}
			reclaimed = true
			if err := r.reclaim(i, p); err != nil {
				return err
			}
		}
		if err := r.writeRecord(true); err != nil {
			return err
		}
	}
}

// advance moves p to the next address that has no lease. No other program makes leases meanwhile,
// so the address will be free.
func (r *reservation) advance(i int, p *pick) bool {
	if p.wanted {
		return false
	}
	if !p.walked {
		p.walk, p.walked = newWalk(r.req.Sets[i], p.hint.last), true
	}
	for r.s.flags&flagTaken == 0 && p.tries < patience || p.noMap {
		p.tries++
		addr, rng, ok := p.walk.next()
		if !ok {
			return false
		}
		if !r.exists(addr) {
			p.addr, p.rng = addr, rng
			return true
		}
	}
	if r.s.keepTaken() == nil {
		if found, err := r.advanceByMap(p); err == nil {
			return found
		}
	}
	r.s.setFlag(flagTaken, false)
	p.noMap = true
	return r.advance(i, p)
}

// advanceByMap is advance by the bitmap.
func (r *reservation) advanceByMap(p *pick) (bool, error) {
	w := &p.walk
	for len(w.spans) > 0 {
		sp := &w.spans[0]
		addr, ok, err := r.s.nextFree(sp.from, sp.to)
		if err != nil {
			return false, err
		}
		if !ok {
			w.spans = w.spans[1:]
			continue
		}
		rng := sp.rng
		sp.from = addr
		w.advance(addr)
		if addr != w.set[rng].Gateway {
			p.addr, p.rng = addr, rng
			return true, nil
		}
	}
	return false, nil
}

func (r *reservation) exists(a netip.Addr) bool {
	return unix.Faccessat(r.s.fd, a.String(), unix.F_OK, unix.AT_SYMLINK_NOFOLLOW) == nil
}

func (r *reservation) takenError(set int, a netip.Addr) error {
	l, _ := r.s.readLease(a.String())
	return &TakenError{Addr: a, RangeSet: r.req.Sets[set], Owner: l.owner}
}

// reclaim is the last resort. For a requested address it ends a dead holder. Otherwise it ends
// every dead attachment in the set. It reads all records, and p goes on from where the walk began.
func (r *reservation) reclaim(i int, p *pick) error {
	if p.wanted {
		return r.reclaimWanted(i, p.addr)
	}
	exhausted := &ExhaustedError{Set: i, RangeSet: r.req.Sets[i]}
	if err := r.endStale(exhausted); err != nil {
		return err
	}
	r.s.setFlag(flagTaken, false)
	r.s.setMark() // a crash while the bitmap is made anew must not leave it trusted
	p.walk, p.tries = newWalk(r.req.Sets[i], p.hint.last), 0
	if !r.advance(i, p) {
		return exhausted
	}
	return nil
}

func (r *reservation) reclaimWanted(i int, addr netip.Addr) error {
	l, err := r.s.readLease(addr.String())
	if err == nil && l.form == wholeLease && l.owner != r.req.Owner {
		rec, ok, err := r.s.readRecord(l.owner)
		if err == nil && ok && r.dead(&rec) {
			return r.endVerified(&rec)
		}
	}
	return r.takenError(i, addr)
}

// endVerified ends those of a record's leases that are its own.
func (r *reservation) endVerified(rec *Record) error {
	var err error
	if rec.Addrs, err = r.s.verify(rec.Owner, rec.Addrs); err != nil {
		return err
	}
	return r.end(rec)
}

// endStale counts the leases of e's set and ends those of dead attachments.
func (r *reservation) endStale(e *ExhaustedError) error {
	r.s.NoteBoot(r.boot, r.req.TrueBoot)
	for rec, err := range r.s.Records() {
		if err != nil {
			return err
		}
		if rec.Owner == r.req.Owner {
			continue // this record is not yet published
		}
		n := 0
		for _, a := range rec.Addrs {
			if e.RangeSet.find(a) >= 0 {
				n++
			}
		}
		switch {
		case n > 0 && r.dead(&rec):
			if r.endVerified(&rec) != nil {
				e.Leases, e.Stale = e.Leases+n, e.Stale+n
			}
		case rec.Boot == "":
			e.Leases, e.Unproven = e.Leases+n, e.Unproven+n
		default:
			e.Leases += n
		}
	}
	return nil
}
