// SPDX-License-Identifier: Apache-2.0

package nft

import "errors"

// Spare makes removals by a Conn leave alone what belongs to owners that live. [Conn.Detach],
// [Conn.DetachOwner], [Conn.Unpublish] and [Conn.Revoke] then ask lives about each owner, short or
// whole, after they have read what to remove, and remove it from that state of the ruleset only. If
// the ruleset changes in between, they read it and ask again.
//
// So a removal on proof of death doesn't overtake an owner that comes back: one that lives before
// its Attach, Publish or Allow. Each of these changes the ruleset, even if everything was as it
// should be. A nil function ends it. It isn't for [Conn.DetachExcept] and its like, which are told who
// is valid.
func (c *Conn) Spare(lives func(Owner) bool) { c.lives = lives }

// errLives is a removal's error that leaves the owner's elements where they are.
var errLives = errors.New("nft: the owner lives")

// spares reports whether an owner's elements must stay. It's asked between reading a generation of
// the ruleset and committing to it.
func (c *Conn) spares(o Owner) bool { return c.lives != nil && c.lives(o) }

// spared leaves out the elements of owners that live. It asks once for those of an owner that are
// beside each other.
func (c *Conn) spared(es []*element) {
	if c.lives == nil {
		return
	}
	last, lives := "", false
	for i, e := range es {
		if e == nil {
			continue
		}
		if owner := e.owner(); owner != last {
			o, _ := parseOwner(owner)
			last, lives = owner, c.lives(o)
		}
		if lives {
			es[i] = nil
		}
	}
}

// renew makes an element anew that is as it should be, so that the ruleset's generation tells others
// that its owner lives.
func (b *batch) renew(e element) {
	b.delete([]element{e})
	b.create([]element{e})
}
