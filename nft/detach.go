// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Detach takes a sender out of the ruleset. Its prefixes, the same as for Attach, and its guard's
// link are hints where to look: an element found there is removed only if it belongs to this owner.
// It is not an error if nothing is found. If the hints are lost, [Conn.DetachOwner] looks
// everywhere.
//
// It also removes the masquerade rules and the spoof check that the CNI project's bridge plugin,
// with its nftables backend, left for this owner. If there are none, that costs one more question
// in the same send.
//
// Errors are those of [Conn.Attach].
func (c *Conn) Detach(a Sender) error {
	if err := a.check(true); err != nil {
		return err
	}
	careful := false
	for range maxTries {
		present, last, err := c.detach(a, careful)
		if err == errLives {
			return nil
		}
		if err == nil {
			if last {
				err = c.tidy(sparing(a.Masquerade))
			}
			return errors.Join(err, c.detachReference(a.Owner, present))
		}
		// ENOENT: an element that should follow isn't there. In kernels older than generations
		// another program may have been faster.
		careful = careful || hasErrno(err, unix.ENOENT)
		if !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return err
		}
	}
	return ErrInterrupted
}

// detach asks for the elements and for the reference's chains at once. It deletes the owner's
// elements if the ruleset hasn't changed since. It returns which of the chains exist, and whether a
// set had no other members. The followers of an element are taken to exist; if careful, it asks for
// them.
func (c *Conn) detach(a Sender, careful bool) (present []chain, last bool, err error) {
	es, chains, sets := a.heads(), probes(a.Owner), a.ownSets()
	ms := lookUps(es)
	for _, p := range chains {
		ms = append(ms, getChain(p.table, p.name))
	}
	for _, s := range sets {
		ms = append(ms, getSet(s))
	}
	replies, generation, err := c.askIn(ms)
	if err != nil {
		return nil, false, err
	}
	for i, r := range replies[len(es) : len(es)+len(chains)] {
		if r.errno == 0 {
			present = append(present, chains[i])
		}
	}
	found, err := decodeLookUps(es, replies)
	if err != nil {
		return nil, false, err
	}
	own, err := c.following(a, ownedBy(dense(found), a.Owner.comment()), careful)
	if err != nil {
		return nil, false, err
	}
	for i, r := range replies[len(es)+len(chains):] {
		n, ok := memberCount(r.data)
		last = last || ok && n > 0 && n == countIn(own, sets[i])
	}
	if c.spares(a.Owner) {
		return nil, false, errLives
	}
	var b batch
	b.delete(own)
	return present, last, c.commit(&b, &generation)
}

// following adds the followers of the owner's heads, and the elements of an earlier version in
// place of a head that doesn't exist.
func (c *Conn) following(a Sender, own []element, careful bool) ([]element, error) {
	var ask []element
	for _, e := range own {
		ask = e.followers(ask)
	}
	if !careful {
		own, ask = append(own, ask...), nil
	}
	owner := a.Owner.comment()
	for _, p := range a.Masquerade {
		if e := masqueradeElement(p, owner); !holds(own, e) {
			ask = append(ask, element{set: oldMasqueradeSet(p), key: e.key})
			ask = e.followers(ask)
		}
	}
	if len(ask) == 0 {
		return own, nil
	}
	replies, err := c.ask(lookUps(ask))
	if err != nil {
		return nil, err
	}
	found, err := decodeLookUps(ask, replies)
	return append(own, ownedBy(dense(found), owner)...), err
}

// ownSets returns the sets that the attachment may be the last member of.
func (a Sender) ownSets() (sets []set) {
	for _, p := range a.Masquerade {
		if s := familyOf(p.Addr()).own(p.Bits()); !p.IsSingleIP() && !slices.Contains(sets, s) {
			sets = append(sets, s)
		}
	}
	return sets
}

// countIn returns how many of the elements are a set's.
func countIn(es []element, s set) (n int) {
	for _, e := range es {
		if e.set == s {
			n++
		}
	}
	return n
}

// dense leaves out the elements that weren't found.
func dense(found []*element) []element {
	var es []element
	for _, f := range found {
		if f != nil {
			es = append(es, *f)
		}
	}
	return es
}

func ownedBy(es []element, owner string) []element {
	var own []element
	for _, e := range es {
		if e.owner() == owner {
			own = append(own, e)
		}
	}
	return own
}
