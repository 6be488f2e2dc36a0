// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// The table of masquerade is the host's, not a network's. Its chains and their rules follow from
// the sets that exist. So a change that lacks a set first reads which exist. It then makes all
// rules anew in one transaction, bound to the generation that was read: packets see the old rules
// or the new ones.

// A need is the set of things that a change needs.
type need struct {
	sets       []set
	conditions []chain
	guard      bool
	rules      bool // the rules of existing sets are made anew
}

func (w need) empty() bool { return len(w.sets) == 0 && !w.guard && !w.rules }

// A survey lists those of our sets that existed in one generation of the ruleset.
type survey struct {
	generation uint32
	sets       []set
	members    map[set]int // how many elements a set has, if the kernel says so
	old        []set       // an earlier version's
}

func (c *Conn) survey() (survey, error) {
	s := survey{members: map[set]int{}}
	var err error
	if _, s.generation, err = c.askIn(nil); err != nil {
		return s, err
	}
	err = c.eachSet(func(name string, data []byte) {
		if r, ok := roleOf(name); ok {
			x := r.set()
			s.sets = append(s.sets, x)
			if n, counted := memberCount(data); counted {
				s.members[x] = n
			}
		} else if x, ok := oldSet(name); ok {
			s.old = append(s.old, x)
		}
	})
	return s, err
}

// Tidy takes over the rules and sets of an earlier version, and removes sets and chains without
// members. Garbage collection does it by itself. If there is nothing to do it changes nothing.
func (c *Conn) Tidy() error {
	former, err := c.former()
	if err != nil {
		return err
	}
	return c.reshape(need{rules: len(former) > 0}, nil)
}

// Rebuild makes the rules for the sets of masquerade and port mappings anew, whatever has become of
// them. It can't know conditions of mappings: Publish makes those.
func (c *Conn) Rebuild() error { return c.reshape(need{rules: true}, func(role) bool { return true }) }

// tidy is Tidy that spares some sets, and leaves the rules as they are if there are none to remove.
func (c *Conn) tidy(spared func(role) bool) error { return c.reshape(need{}, spared) }

// sparing spares the sets whose number can't grow, and those of the lengths of some subnets. The
// next attachment will need them. If they are missing it's refused first, which takes 10 ms.
func sparing(subnets []netip.Prefix) func(role) bool {
	return func(r role) bool {
		if !r.hasLength() {
			return r.arg == "" && (r.bit == 0 || r.bit == usualBit) && r.head != standbyName && r.head != hostStandbyName
		}
		return slices.ContainsFunc(subnets, func(p netip.Prefix) bool { return familyOf(p.Addr()) == r.family && p.Bits() == r.length() })
	}
}

// reshape adds the wanted sets and rules to those that exist. It takes over the rules and sets of
// an earlier version, and removes sets that have no members and that aren't wanted or spared.
func (c *Conn) reshape(want need, spared func(role) bool) error {
	for range maxTries {
		s, err := c.survey()
		if err != nil {
			return err
		}
		empty, err := c.withoutMembers(s, func(x set) bool {
			return slices.Contains(want.sets, x) || spared != nil && spared(x.role())
		})
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
	return ErrInterrupted
}

// withoutMembers returns the sets that have none, without some. Those of a unit stay together, and
// those of marks stay while mappings wait, which will need them.
func (c *Conn) withoutMembers(s survey, but func(set) bool) (empty []set, err error) {
	lives := map[role]bool{}
	for _, x := range s.sets {
		n, counted := s.members[x]
		if !but(x) && !counted {
			es, err := c.membersOf(x)
			if err != nil {
				return nil, err
			}
			n = len(es)
		}
		unit := x.role().unit()
		lives[unit] = lives[unit] || n > 0 || but(x)
	}
	for _, x := range s.sets {
		if r := x.role().unit(); !lives[r] && !(r.head == snatName && lives[role{head: standbyName, family: r.family, arg: r.arg}]) {
			empty = append(empty, x)
		}
	}
	return empty, nil
}

// membersOf lists a set. The list is whole if the change that is made from it can be committed to
// the generation before it.
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
func (c *Conn) reshaping(b *batch, s survey, want need, empty []set) error {
	taken, err := c.takeOver(s)
	if err != nil {
		return err
	}
	have := slices.DeleteFunc(slices.Concat(s.sets, taken.sets, want.sets), func(x set) bool { return slices.Contains(empty, x) })
	b.shape(s, orderedSets(have), want)
	for _, x := range taken.chains {
		b.deleteChain(x.table, x.name)
	}
	for _, x := range append(empty, s.old...) {
		b.deleteSet(x)
	}
	b.elements = append(b.elements, taken.rules...)
	b.delete(taken.replaced)
	b.create(taken.elements)
	return nil
}

// shape adds the wanted sets, and makes the rules that follow from them. A chain that no longer
// follows from any set goes.
func (b *batch) shape(s survey, sets []set, want need) {
	if len(sets)+len(s.sets)+len(s.old) > 0 {
		b.lib().AddTable(masqueradeTable.object())
		for _, x := range sets {
			b.set(x)
		}
		b.chains(s, sets, want.conditions)
	}
	if want.guard {
		b.lib().AddTable(guardTable.object())
		b.set(guarded)
		b.set(allowed)
		b.chain(guardChain())
	}
}

func (b *batch) chains(s survey, sets []set, conditions []chain) {
	now := chainsOf(sets)
	for _, x := range now {
		b.addChain(x) // before a rule leads to it
	}
	for _, x := range slices.Concat(conditions, now) {
		if x.rules != nil {
			b.chain(x)
		}
	}
	gone := slices.DeleteFunc(chainsOf(s.sets), func(x chain) bool {
		return slices.ContainsFunc(now, func(y chain) bool { return x.name == y.name })
	})
	for _, x := range gone {
		x.rules = nil
		b.chain(x)
	}
	for _, x := range gone {
		b.deleteChain(x.table, x.name)
	}
}

// chainsOf returns the chains that follow from sets. Chains without rules here have rules that
// don't follow from them.
func chainsOf(sets []set) (cs []chain) {
	if c := masqueradeChain(sets); c.rules != nil {
		cs = append(cs, c)
	}
	for _, g := range groupsOf(sets) {
		if g.hash != "" {
			cs = append(cs, portChain{name: g.chainName(whenChain)}.chain())
		}
	}
	return append(cs, portChains(sets)...)
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
