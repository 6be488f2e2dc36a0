// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// A settling publishes elements some of whose keys are taken. This owner itself may have them, or
// an earlier holder of the address, or another attachment of the container. If another container
// has them, that is an error.
type settling struct {
	p        *Publication
	replaced map[string]bool // owners whose elements go
	want     []element
	taken    *PortTakenError  // by another container: the first of the mappings that is
	holders  []element        // of ports that this container has by another attachment
	waiting  []PortTakenError // ports that aren't this attachment's yet
}

// settle returns the mappings that have to wait.
func (c *Conn) settle(p *Publication, es []element) ([]PortTakenError, error) {
	found, generation, err := c.lookUp(es)
	if err != nil {
		return nil, err
	}
	s := p.settle(es, found)
	if err := c.refusal(s); err != nil {
		return nil, err
	}
	all, err := c.listPorts()
	if err != nil {
		return nil, err
	}
	var b batch
	s.change(&b, all)
	if b.empty() {
		b.renew(s.want[0])
	}
	err = c.commitLarge(&b, &generation)
	if hasErrno(err, unix.ENOENT) && len(s.waiting) > 0 {
		// The sets of mappings that wait are made if one waits.
		if err = c.reshape(need{sets: append(p.needs().sets, setsOf(s.want)...)}, sparing(p.Addrs)); err == nil {
			err = &Error{Change: "commit", Step: Whole, Errno: unix.ERESTART}
		}
	}
	return s.waiting, err
}

// settle decides about elements in whose places others were found.
func (p *Publication) settle(es []element, found []*element) *settling {
	s := &settling{p: p, replaced: map[string]bool{p.Owner.comment(): true}}
	for _, f := range dense(found) {
		if _, isAddress := f.published(); isAddress {
			s.replaced[f.owner()] = true
		}
	}
	s.choose(es, found)
	return s
}

// choose decides which elements are wanted: those of mappings, or those of mappings that wait.
func (s *settling) choose(es []element, found []*element) {
	waits := map[groupPlace]bool{}
	first := len(s.p.Ports)
	for i, f := range found {
		at, to, ok := es[i].mapping()
		if f == nil || !ok || s.replaced[f.owner()] {
			continue
		}
		if !s.p.Owner.sameContainer(f.owner()) {
			if n := s.p.index(at); n < first {
				s.taken, first = s.p.taken(at, f), n
			}
			continue
		}
		waits[at] = true
		s.holders = append(s.holders, *f)
		s.waiting = append(s.waiting, *s.p.taken(at, f))
		e := at.standby(to)
		e.comment = s.p.Owner.comment()
		s.want = append(s.want, e)
	}
	marked := map[string]bool{} // those of mappings that wait aren't marked by this owner
	for at := range waits {
		e := at.snat(s.p.bit())
		marked[e.id()] = true
	}
	for _, e := range es {
		if at, _, ok := e.mapping(); !(ok && waits[at]) && !marked[e.id()] {
			s.want = append(s.want, e)
		}
	}
}

// refusal is the error if another container has a port. It has the note of the holder's addresses.
func (c *Conn) refusal(s *settling) error {
	held := make([]*PortTakenError, 0, len(s.waiting)+1)
	for i := range s.waiting {
		held = append(held, &s.waiting[i])
	}
	if s.taken != nil {
		held = append(held, s.taken)
	}
	for _, h := range held {
		addr := h.Target.Addr()
		if !addr.IsValid() {
			continue
		}
		found, _, err := c.lookUp([]element{{set: familyOf(addr).published(), key: addr.AsSlice()}})
		if err != nil {
			return err
		}
		if v, ok := h.holds(found[0]); ok {
			h.Note = v.note
		}
	}
	if s.taken != nil {
		return s.taken
	}
	return nil
}

// holds decodes an address if it belongs to the holder.
func (e *PortTakenError) holds(f *element) (v publishedAddress, ok bool) {
	if f == nil {
		return v, false
	}
	o, _ := parseOwner(f.owner())
	v, ok = f.published()
	return v, ok && o == e.Holder
}

// change turns all elements into the wanted ones.
func (s *settling) change(b *batch, all []element) {
	present, wanted := map[string]bool{}, map[string]*element{}
	for i := range s.want {
		wanted[s.want[i].id()] = &s.want[i]
	}
	var gone []element
	for _, e := range all {
		if !s.replaced[e.owner()] {
			continue
		}
		w := wanted[e.id()]
		if w != nil {
			keepAwaited(w, e)
		}
		if w != nil && w.comment == e.comment && string(w.data) == string(e.data) {
			present[e.id()] = true
			continue
		}
		gone = append(gone, e)
	}
	sortBySet(gone)
	b.delete(gone)
	gone = slices.DeleteFunc(gone, func(e element) bool { return wanted[e.id()] != nil })
	handOver(b, all, gone)
	sortBySet(s.want)
	for _, e := range s.want {
		if !present[e.id()] {
			b.create([]element{e})
		}
	}
	markAwaited(b, all, s.holders)
}

// keepAwaited keeps the sign that others wait.
func keepAwaited(want *element, e element) {
	was, ok := e.published()
	is, ok2 := want.published()
	if ok && ok2 && was.awaited && was.Prefix == is.Prefix {
		is.awaited = true
		*want = is.element(want.owner())
	}
}

// addressesOf returns the published addresses among elements.
func addressesOf(all []element) map[netip.Addr]element {
	list := map[netip.Addr]element{}
	for _, e := range all {
		if v, ok := e.published(); ok {
			list[v.Addr()] = e
		}
	}
	return list
}

// markAwaited notes at the addresses that mappings lead to that others wait for them.
func markAwaited(b *batch, all, mappings []element) {
	list := addressesOf(all)
	for _, e := range mappings {
		_, to, _ := e.mapping()
		x := list[to.Addr()]
		v, ok := x.published()
		if !ok || v.awaited || v.old {
			continue
		}
		v.awaited = true
		list[to.Addr()] = v.element(x.owner())
		b.delete([]element{x})
		b.create([]element{list[to.Addr()]})
	}
}

// handOver gives the ports of mappings that go to those that wait for them. If several wait, the
// first by its name gets them.
func handOver(b *batch, all, gone []element) {
	free, going := map[groupPlace]bool{}, map[string]bool{}
	for _, e := range gone {
		going[e.id()] = true
		if at, _, ok := e.mapping(); ok && !e.isStandby() {
			free[at] = true
		}
	}
	var waiting []element
	for _, e := range all {
		if at, _, ok := e.mapping(); ok && free[at] && e.isStandby() && !going[e.id()] {
			waiting = append(waiting, e)
		}
	}
	if len(waiting) == 0 {
		return
	}
	order.By(waiting, byComment)
	list := addressesOf(all)
	heirs := map[groupPlace]element{}
	var held []element
	for _, e := range waiting {
		at, to, _ := e.mapping()
		if heir, taken := heirs[at]; taken {
			held = append(held, heir)
			continue
		}
		x := list[to.Addr()]
		v, _ := x.published()
		es := v.mapping(at, to.Port(), e.owner())
		heirs[at] = es[0]
		b.delete([]element{e})
		b.create(es)
	}
	markAwaited(b, all, held)
}

// sameContainer reports whether an element's owner is an attachment of the same container.
func (o Owner) sameContainer(comment string) bool {
	other, ok := parseOwner(comment)
	if !ok {
		return false
	}
	if _, hash, wasCut := strings.Cut(other.ContainerID, cutMark); wasCut {
		return hash == hashOf(o.ContainerID)
	}
	return other.ContainerID == o.ContainerID
}

// index returns which of the mappings begins at a place.
func (p *Publication) index(at groupPlace) int {
	return slices.IndexFunc(p.Ports, func(m PortMapping) bool { return m.in(at.group.family) && m.place(at.group) == at })
}

// taken names the owner of an element that was found in a mapping's place.
func (p *Publication) taken(at groupPlace, f *element) *PortTakenError {
	err := &PortTakenError{Owner: p.Owner, Mapping: at.mapping(0)}
	_, err.Target, _ = f.mapping()
	err.Holder, _ = parseOwner(f.owner())
	return err
}
