// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"
	"strings"
)

// Earlier versions had a set and a base chain for each subnet: masq4-10.1.0.0/24, masq6-fd00-1--/64.
const (
	oldMasq4 = "masq4-"
	oldMasq6 = "masq6-"
)

// oldMasqueradeSet returns the set that an earlier version had for the masqueraded addresses of a prefix's subnet. Its
// chain had the same name.
func oldMasqueradeSet(p netip.Prefix) set {
	s := p.Masked().String()
	if p.Addr().Is4() {
		return set{masqueradeTable, oldMasq4 + s, address4}
	}
	return set{masqueradeTable, oldMasq6 + strings.ReplaceAll(s, ":", "-"), address6}
}

// oldSubnet is the reverse of oldMasqueradeSet.
func oldSubnet(name string) (netip.Prefix, bool) {
	text, is4 := strings.CutPrefix(name, oldMasq4)
	if !is4 {
		var is6 bool
		if text, is6 = strings.CutPrefix(name, oldMasq6); !is6 {
			return netip.Prefix{}, false
		}
		text = strings.ReplaceAll(text, "-", ":")
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil && p == p.Masked() && oldMasqueradeSet(p).name == name
}

// oldChains returns the chains of an earlier version's sets.
func oldChains(old []set) (cs []chain) {
	for _, s := range old {
		cs = append(cs, chain{table: s.table, name: s.name})
	}
	return cs
}

// takenOver returns what an earlier version's elements are today, but for what is there already.
func (c *Conn) takenOver(old []set) (fresh []element, err error) {
	var es []element
	seen := map[string]bool{}
	for _, s := range old {
		members, err := c.membersOf(s)
		if err != nil {
			return nil, err
		}
		for _, e := range members {
			p, ok := e.prefix()
			today := masqueradeElement(p, e.owner())
			if !ok || seen[today.id()] {
				continue
			}
			seen[today.id()] = true
			es = append(es, today)
			if f, ok := today.follower(); ok {
				es = append(es, f)
			}
		}
	}
	slices.SortStableFunc(es, func(a, b element) int { return strings.Compare(a.set.name, b.set.name) })
	for some := range slices.Chunk(es, removeAtOnce) {
		found, _, err := c.lookUp(some)
		if err != nil {
			return nil, err
		}
		for i, f := range found {
			if f == nil {
				fresh = append(fresh, some[i])
			}
		}
	}
	return fresh, nil
}

// hasOld says whether an element of masquerade is there as an earlier version made it.
func (c *Conn) hasOld(e element) (bool, error) {
	p, ok := e.prefix()
	if !ok {
		return false, nil
	}
	found, _, err := c.lookUp([]element{{set: oldMasqueradeSet(p), key: e.key}})
	return err == nil && found[0] != nil && found[0].owner() == e.owner(), err
}
