// SPDX-License-Identifier: Apache-2.0

package nft

import "golang.org/x/sys/unix"

// Detach takes an attachment out of the ruleset. Its prefixes, the same as at Attach, and its guard's link are hints
// where to look: what is found there goes only if it's this owner's. What isn't there is no error.
// Where the hints are lost, [Conn.DetachOwner] looks everywhere.
//
// It also removes what the CNI project's bridge plugin, with its nftables backend, left for this owner: its
// masquerade rules and its spoof check. That costs a question in the same send when there's nothing.
func (c *Conn) Detach(a Attachment) error {
	if err := a.check(true); err != nil {
		return err
	}
	for range maxTries {
		present, err := c.detach(a)
		if err == nil {
			return c.detachReference(a.Owner, present)
		}
		// ENOENT: in kernels older than generations somebody else may have been faster.
		if !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return err
		}
	}
	return errContended
}

// detach asks for the elements and for the reference's chains at once, and deletes the owner's elements if the
// ruleset hasn't changed since. It returns which of the chains are there.
func (c *Conn) detach(a Attachment) (present []chain, err error) {
	es := a.elements()
	ms := lookUps(es)
	chains := probes(a.Owner)
	for _, p := range chains {
		ms = append(ms, getChain(p.table, p.name))
	}
	replies, generation, err := c.askIn(ms)
	if err != nil {
		return nil, err
	}
	for i, r := range replies[len(es):] {
		if r.errno == 0 {
			present = append(present, chains[i])
		}
	}
	found, err := decodeLookUps(es, replies)
	if err != nil {
		return nil, err
	}
	stale, err := c.staleMACs(es, found)
	if err != nil {
		return nil, err
	}
	owner := a.Owner.comment()
	var b batch
	b.delete(ownedBy(append(stale, dense(found)...), owner))
	return present, c.commit(&b, &generation)
}

// dense leaves out what wasn't found.
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
