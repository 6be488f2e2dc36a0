// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Restore puts many attachments into the ruleset, with all rules that they need, in one
// transaction, as after a firewall's flush. Right elements stay. Addresses that another owner has
// are taken over, so name only attachments that live. Errors are those of [Conn.Attach].
func (c *Conn) Restore(list []Sender) error {
	es, err := elementsOf(list)
	if err != nil {
		return err
	}
	if len(es) == 0 {
		return c.Tidy()
	}
	for range maxTries {
		b, generation, err := c.restoration(es)
		if err != nil {
			return err
		}
		if err = c.commitLarge(b, &generation); !hasErrno(err, unix.ERESTART) {
			return errors.Join(lacking(err), c.Tidy())
		}
	}
	return ErrInterrupted
}

// restoration makes elements and rules as they should be in a generation of the ruleset.
func (c *Conn) restoration(es []element) (*batch, uint32, error) {
	needs := needOf(es)
	s, err := c.survey()
	if err == nil && len(s.old) > 0 {
		// The sets that are compared below must exist.
		if err = c.reshape(needs, nil); err == nil {
			s, err = c.survey()
		}
	}
	if err != nil {
		return nil, 0, err
	}
	b := new(batch)
	b.shape(s, orderedSets(slices.Concat(needs.sets, s.sets)), needs)
	for chunk := range slices.Chunk(es, removeAtOnce) {
		found, _, err := c.lookUp(chunk) // a change since the survey is refused
		if err != nil {
			return nil, 0, err
		}
		if err := c.replacement(b, es, chunk, found); err != nil {
			return nil, 0, err
		}
	}
	return b, s.generation, nil
}
