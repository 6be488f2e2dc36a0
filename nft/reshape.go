// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// The table of masquerade is the host's, not a network's: which chains it has, and with which rules, follows from the sets
// that are there. So whoever lacks a set reads which there are, and makes all rules anew in one transaction, bound to
// the generation that was read: packets see the old rules or the new ones.

// A survey is which of our sets there were in one generation of the ruleset.
type survey struct {
	generation uint32
	sets       []set
	members    map[set]int // how many elements a set has, where the kernel says
	old        []set       // an earlier version's
}

func (c *Conn) survey() (survey, error) {
	s := survey{members: map[set]int{}}
	var err error
	if _, s.generation, err = c.askIn(nil); err != nil {
		return s, err
	}
	err = c.eachSet(func(name string, data []byte) {
		x, _, ok := masqueradeSet(name)
		if !ok {
			if p, isOld := oldSubnet(name); isOld {
				s.old = append(s.old, oldMasqueradeSet(p))
			}
			return
		}
		s.sets = append(s.sets, x)
		if n, counted := memberCount(data); counted {
			s.members[x] = n
		}
	})
	return s, err
}

// Tidy takes over what an earlier version made, and takes out the sets and chains that nobody is a member of any more. Garbage
// collection does it by itself; where there's nothing to do it changes nothing.
func (c *Conn) Tidy() error { return c.tidy() }

// tidy is Tidy that leaves some sets alone.
func (c *Conn) tidy(but ...set) error { return c.reshape(Ruleset{}, but...) }

// reshape makes sets and rules what is wanted besides what there is. It takes over what an earlier version made, and takes out
// the sets that have no members and aren't wanted, but for some.
func (c *Conn) reshape(want Ruleset, but ...set) error {
	for range maxTries {
		s, err := c.survey()
		if err != nil {
			return err
		}
		empty, err := c.withoutMembers(s, append(want.sets(), but...))
		if err != nil {
			return err
		}
		if want.empty() && len(empty)+len(s.old) == 0 {
			return nil
		}
		var b batch
		if err = c.reshaping(&b, s, want, empty); err != nil {
			return err
		}
		if err := c.commitLarge(&b, &s.generation); !hasErrno(err, unix.ERESTART) {
			return err
		}
	}
	return errContended
}

// withoutMembers returns the sets that have none, but for some.
func (c *Conn) withoutMembers(s survey, but []set) (empty []set, err error) {
	for _, x := range s.sets {
		if slices.Contains(but, x) {
			continue
		}
		n, counted := s.members[x]
		if !counted {
			es, err := c.membersOf(x)
			if err != nil {
				return nil, err
			}
			n = len(es)
		}
		if n == 0 {
			empty = append(empty, x)
		}
	}
	return empty, nil
}

// membersOf lists a set. That it's whole shows when the change made of it is committed to the generation before it.
func (c *Conn) membersOf(s set) (es []element, err error) {
	err = c.dump(listElements(s), func(data []byte) error {
		return decodeElements(data, s, func(e element) { es = append(es, e) })
	})
	if errors.Is(err, errChanged) || hasErrno(err, unix.ENOENT) {
		err = nil
	}
	return es, err
}

// reshaping is the transaction of reshape.
func (c *Conn) reshaping(b *batch, s survey, want Ruleset, empty []set) error {
	taken, err := c.takenOver(s.old)
	if err != nil {
		return err
	}
	old, err := c.present(oldChains(s.old))
	if err != nil {
		return err
	}
	had := len(s.sets)+len(s.old) > 0
	b.shape(slices.DeleteFunc(append(s.sets, setsOf(taken)...), func(x set) bool { return slices.Contains(empty, x) }), want, had)
	for _, x := range old {
		b.deleteChain(x.table, x.name)
	}
	for _, x := range append(empty, s.old...) {
		b.deleteSet(x)
	}
	b.create(taken)
	return nil
}

// shape adds the sets that there are to be, and makes the rules that follow from them. Where none is left of those that
// there were, the chain goes.
func (b *batch) shape(have []set, want Ruleset, had bool) {
	sets := orderedSets(append(want.sets(), have...))
	if len(sets) > 0 || had {
		b.lib().AddTable(masqueradeTable.object())
		for _, x := range sets {
			b.set(x)
		}
		c := masqueradeChain(sets)
		b.chain(c)
		if len(sets) == 0 {
			b.deleteChain(c.table, c.name)
		}
	}
	if want.Guard {
		b.lib().AddTable(guardTable.object())
		b.set(guarded)
		b.set(allowed)
		b.chain(guardChain())
	}
}

// setsOf returns the sets of elements.
func setsOf(es []element) (sets []set) {
	for _, e := range es {
		if !slices.Contains(sets, e.set) {
			sets = append(sets, e.set)
		}
	}
	return sets
}
