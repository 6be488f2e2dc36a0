// SPDX-License-Identifier: Apache-2.0

package nft

import "golang.org/x/sys/unix"

// Detach takes an attachment out of the ruleset. Its addresses and its guard's link are hints where to look,
// all else about them doesn't matter: what is found there goes only if it's this owner's. What isn't there
// is no error.
func (c *Conn) Detach(a Attachment) error {
	if err := a.check(true); err != nil {
		return err
	}
	for range maxTries {
		err := c.detach(a)
		// ENOENT: without generations, in old kernels, somebody else may have been faster.
		if !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return err
		}
	}
	return errContended
}

func (c *Conn) detach(a Attachment) error {
	es := a.elements()
	found, generation, err := c.lookUp(es)
	if err != nil {
		return err
	}
	owner := a.Owner.comment()
	stale, err := c.staleMACs(es, found)
	if err != nil {
		return err
	}
	var gone []element
	for _, f := range found {
		if f != nil && f.owner() == owner {
			gone = append(gone, *f)
		}
	}
	for _, f := range stale {
		if f.owner() == owner {
			gone = append(gone, f)
		}
	}
	var b batch
	b.delete(gone)
	return c.commit(&b, &generation)
}
