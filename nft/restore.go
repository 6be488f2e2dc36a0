// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Restore puts many attachments into the ruleset, with all rules that they need, in one transaction: as after a
// firewall's flush. What is there and right stays; addresses that another owner has are taken over, so name only attachments that live.
// Errors are those of [Conn.Attach].
func (c *Conn) Restore(list []Attachment) error {
	es, rules, err := elementsOf(list)
	if err != nil || len(es) == 0 {
		return err
	}
	for range maxTries {
		b, generation, err := c.restoration(es, rules)
		if err != nil {
			return err
		}
		if err = c.commitLarge(b, &generation); !hasErrno(err, unix.ERESTART) {
			return lacking(err)
		}
	}
	return errContended
}

// restoration is what makes elements and rules as they should be in a generation of the ruleset.
func (c *Conn) restoration(es []element, rules Ruleset) (*batch, uint32, error) {
	b := new(batch)
	b.build(rules)
	var first uint32
	asked := false
	for some := range slices.Chunk(es, removeAtOnce) {
		found, generation, err := c.lookUp(some)
		if err != nil {
			return nil, 0, err
		}
		if !asked {
			first, asked = generation, true // a change before the last answer shows too
		}
		stale, err := c.staleMACs(es, found)
		if err != nil {
			return nil, 0, err
		}
		b.delete(stale)
		for i, e := range some {
			switch f := found[i]; {
			case f == nil:
				b.create([]element{e})
			case f.comment != e.comment:
				b.delete([]element{*f})
				b.create([]element{e})
			}
		}
	}
	return b, first, nil
}
