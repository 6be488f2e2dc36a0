// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"slices"
)

// Request asks for one address of each range set. Its functions are called while the store is
// locked.
type Request struct {
	Owner Owner
	// Sets are canonical, see [CanonicalSets]. A set's place names its last_reserved_ip file.
	Sets   []RangeSet
	Want   []netip.Addr // addresses to be given; each must be in a set of its own
	Record Record       // evidence; Reserve fills in Owner, Addrs and Prefixes

	// OtherMAC says that the owner's MAC doesn't follow from its address. So the next owner of the
	// address will have another one, or an earlier owner may have had another one. See [History].
	OtherMAC bool
	// OtherMAC6 says the same of its IPv6 addresses only. See [History].
	OtherMAC6 bool

	// Alive reports whether the attachment that a record describes may exist. Only false lets
	// leases be reclaimed, and it must be proven. Alive is called only for records with evidence. A
	// nil Alive treats every attachment as alive.
	Alive func(Record) bool

	// TrueBoot reports whether Record.Boot is known to be the kernel's own. It's called once a
	// boot, and nil doesn't know. See [Record].TrueBoot.
	TrueBoot func() bool

	// Ending is called before the leases of a dead attachment end, so that the caller can remove
	// other things that it keeps by its addresses. If it returns an error, the leases stay. Nil
	// means that there is nothing to remove.
	Ending func(Record) error
}

// Reserve gives the owner an address of each set, in their order, or nothing at all. If the owner's
// earlier attachment is provably dead, its leases end, and the same addresses are given again if
// that is possible. It waits only for the file system, and for Alive and Ending. Errors are
// [*SetError], [*UnusedError], [ErrInvalid], [*fs.PathError], and a [*RangeError] if there's no
// set.
func (s *Store) Reserve(req Request) ([]Lease, error) {
	if s.readOnly {
		return nil, ErrReadOnly
	}
	if err := req.validate(); err != nil {
		return nil, err
	}
	s.hasLast = false
	if err := s.look(); err != nil {
		return nil, err
	}
	boot := req.Record.Boot
	if s.marked {
		s.setFlag(flagMACs, req.OtherMAC || s.flags&flagMACs != 0)
		r := reservation{s: s, req: req, boot: boot}
		if leases, err := r.run(); err != errRebuild {
			return leases, err
		}
	}
	if err := s.rebuild(&req); err != nil {
		return nil, err
	}
	s.setFlag(flagMACs, req.OtherMAC || s.flags&flagMACs != 0)
	r := reservation{s: s, req: req, boot: boot}
	return r.run()
}

func (q *Request) validate() error {
	if err := q.Owner.validate(); err != nil {
		return err
	}
	if len(q.Sets) == 0 {
		return rangeError("no IP ranges specified")
	}
	for _, set := range q.Sets {
		for _, r := range set {
			if !r.Start.IsValid() || !r.End.IsValid() || r.Start.Compare(r.End) > 0 {
				return invalidError("range " + r.String() + " isn't canonical")
			}
		}
		if len(set) == 0 {
			return rangeError("empty range set")
		}
	}
	return q.Record.validEvidence()
}

// reservation is a [Store.Reserve] at work.
type reservation struct {
	s      *Store
	req    Request
	boot   string // unset: remains of other boots don't matter
	want   []netip.Addr
	picks  []pick
	tmp    staged
	prior  Record       // the owner's record at the beginning
	had    bool         // there was a prior record, and it stays if this fails
	held   []netip.Addr // addresses that make a further one a duplicate
	again  []netip.Addr // addresses of a dead attachment, to be given again
	record Record       // to be published
	done   int          // picks whose lease is published
}

// pick is the choice of an address in one set.
type pick struct {
	addr   netip.Addr
	rng    int
	wanted bool
	walked bool // walk was begun
	tries  int  // addresses asked for one by one
	noMap  bool // there can be no bitmap
	walk   walk
	hint   hint
	err    error // why there's no address
}

func (r *reservation) run() ([]Lease, error) {
	r.tmp.fd = -1
	if err := r.lookBack(); err != nil {
		return nil, err
	}
	r.choose()
	defer r.close()
	err := r.publish()
	if err == nil && len(r.want) > 0 {
		err = &UnusedError{Addrs: r.want}
	}
	if r.req.OtherMAC6 {
		r.noteReused()
	}
	// Hints are written for failures too, as host-local does.
	for i := range r.done {
		if e := r.picks[i].hint.write(r.s, r.picks[i].addr); err == nil {
			err = e
		}
	}
	if err != nil {
		r.undo()
		r.s.setMark()
		return nil, err
	}
	r.s.setMark()
	return r.leases(), nil
}

// lookBack finds the owner's leases. Leases of a dead attachment end here.
func (r *reservation) lookBack() error {
	s := r.s
	prior, ok, err := s.readRecord(r.req.Owner)
	if err != nil {
		return err
	}
	if !s.marked {
		return errRebuild
	}
	if ok {
		if prior.Addrs, err = s.verify(prior.Owner, prior.Addrs); err != nil {
			return err
		}
		if r.dead(&prior) {
			r.again = slices.Clone(prior.Addrs)
			return r.end(&prior)
		}
		r.prior, r.had, r.held = prior, true, prior.Addrs
	}
	if s.flags&flagOld == 0 {
		return nil
	}
	old := Owner{ContainerID: r.req.Owner.ContainerID}
	prior, ok, err = s.readRecord(old)
	if err == nil && ok {
		prior.Addrs, err = s.verify(old, prior.Addrs)
		r.held = append(slices.Clip(r.held), prior.Addrs...)
	}
	return err
}

// end ends a dead attachment.
func (r *reservation) end(rec *Record) error {
	if r.req.Ending != nil {
		if err := r.req.Ending(*rec); err != nil {
			return err
		}
	}
	return r.s.end(rec)
}

// dead reports whether a record's attachment provably doesn't exist.
func (r *reservation) dead(rec *Record) bool { return r.s.dead(&r.req, rec) }

// dead reports whether a request proves that a record's attachment doesn't exist.
func (s *Store) dead(req *Request, rec *Record) bool {
	if rec.Boot == "" || req.Alive == nil {
		return false
	}
	s.Witness(rec)
	return !req.Alive(*rec)
}

// choose picks for each set the address that is most likely to be free, without asking.
func (r *reservation) choose() {
	for _, a := range r.req.Want {
		if a = plain(a); !slices.Contains(r.want, a) {
			r.want = append(r.want, a)
		}
	}
	r.picks = make([]pick, len(r.req.Sets))
	for i := range r.picks {
		r.picks[i].hint.fd = -1
	}
	for i := range r.picks {
		p := &r.picks[i]
		if err := r.pick(i, p); err != nil {
			p.err = &SetError{Set: i, Err: err}
			return // the sets after it aren't reached
		}
	}
}

func (r *reservation) pick(i int, p *pick) error {
	set := r.req.Sets[i]
	inSet := func(a netip.Addr) bool { return set.find(a) >= 0 }
	if n := slices.IndexFunc(r.want, inSet); n >= 0 {
		p.addr, p.wanted = r.want[n], true
		r.want = slices.Delete(r.want, n, n+1)
		p.rng = set.find(p.addr)
		if p.addr == set[p.rng].Gateway {
			return &GatewayError{Addr: p.addr}
		}
	}
	if n := slices.IndexFunc(r.held, inSet); n >= 0 {
		if p.wanted && r.exists(p.addr) {
			return r.takenError(i, p.addr)
		}
		return &DuplicateError{Owner: r.req.Owner, Addr: r.held[n]}
	}
	var err error
	if p.hint, err = r.s.openHint(i); err != nil || p.wanted {
		return err
	}
	if n := slices.IndexFunc(r.again, inSet); n >= 0 {
		a := r.again[n]
		if rng := set.find(a); a != set[rng].Gateway {
			p.addr, p.rng = a, rng
			return nil
		}
	}
	var ok bool
	p.walk, p.walked = newWalk(set, p.hint.last), true
	if p.addr, p.rng, ok = p.walk.next(); !ok {
		return &ExhaustedError{Set: i, RangeSet: set}
	}
	return nil
}

// publish makes the record appear and then the leases. A crash between them leaves a record that
// promises too much. Every reader verifies records.
func (r *reservation) publish() error {
	err := r.picks[0].err
	if err != nil {
		return err
	}
	if r.tmp, err = r.s.stage(r.req.Owner.content(), r.boot); err != nil {
		return err
	}
	if err := r.writeRecord(r.had); err != nil {
		return err
	}
	for i := range r.picks {
		p := &r.picks[i]
		if p.err != nil {
			return p.err
		}
		if err := r.take(i, p); err != nil {
			return &SetError{Set: i, Err: err}
		}
		r.done++
		if err := r.s.setTaken(p.addr, true); err != nil {
			return err
		}
	}
	return nil
}

func (r *reservation) writeRecord(replace bool) error {
	r.record = r.req.Record
	r.record.Owner = r.req.Owner
	r.record.Addrs, r.record.Prefixes = nil, nil
	if r.had {
		r.record.Addrs = append(r.record.Addrs, r.prior.Addrs...)
		r.record.Prefixes = append(r.record.Prefixes, r.prior.Prefixes...)
	}
	for i := range r.picks {
		if p := &r.picks[i]; p.addr.IsValid() {
			r.record.Addrs = append(r.record.Addrs, p.addr)
			r.record.Prefixes = append(r.record.Prefixes, netip.PrefixFrom(p.addr, r.req.Sets[i][p.rng].Subnet.Bits()))
		}
	}
	return r.s.writeRecord(&r.record, replace)
}

// leases are the answer.
func (r *reservation) leases() []Lease {
	leases := make([]Lease, len(r.picks))
	for i := range r.picks {
		p := &r.picks[i]
		rng := r.req.Sets[i][p.rng]
		leases[i] = Lease{
			Prefix:  netip.PrefixFrom(p.addr, rng.Subnet.Bits()),
			Gateway: rng.Gateway,
			Set:     i,
			Owner:   r.req.Owner,
		}
	}
	return leases
}

// undo ends the leases of this reservation, and nothing else.
func (r *reservation) undo() {
	for i := range r.done {
		_ = r.s.unlinkLease(r.picks[i].addr)
	}
	if r.record.Owner == (Owner{}) {
		return // not written yet
	}
	if r.had {
		_ = r.s.writeRecord(&r.prior, true)
		return
	}
	_ = r.s.unlinkRecord(r.req.Owner)
}

func (r *reservation) close() {
	r.s.drop(&r.tmp)
	for i := range r.picks {
		r.picks[i].hint.close()
	}
}
