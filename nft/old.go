// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
)

// Earlier versions had a set and a base chain for each subnet: masq4-10.1.0.0/24,
// masq6-fd00-1--/64.
const (
	oldMasq4 = "masq4-"
	oldMasq6 = "masq6-"
)

// oldMasqueradeSet returns the set that an earlier version had for the masqueraded addresses of a
// prefix's subnet. Its chain had the same name.
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

// oldSet returns the set of an earlier version that has a name, if there is one.
func oldSet(name string) (set, bool) {
	if p, ok := oldSubnet(name); ok {
		return oldMasqueradeSet(p), true
	}
	return oldPortSet(name)
}

// A takeover turns the rules and sets of an earlier version into those of today, as parts of one
// transaction.
type takeover struct {
	sets     []set
	elements []element // without those that exist already
	replaced []element // that are in sets of the same name
	chains   []chain   // to be removed
	rules    []netlink.Message
}

// takeOver reads the rules and sets of an earlier version.
func (c *Conn) takeOver(s survey) (t takeover, err error) {
	if t.chains, err = c.former(); err != nil || len(s.old) == 0 {
		return t, err
	}
	ports := oldPorts{chosen: map[netip.Addr]rune{}}
	for _, x := range s.old {
		members, err := c.membersOf(x)
		if err != nil {
			return t, err
		}
		if p, ok := oldSubnet(x.name); ok {
			t.masqueraded(p, members)
		} else {
			ports.add(x, members)
		}
	}
	if len(ports.sets) > 0 {
		if err := c.takeOverPorts(&t, &ports); err != nil {
			return t, err
		}
	}
	chains, err := c.present(append(oldChains(s.old), ports.chains()...))
	if err != nil {
		return t, err
	}
	t.chains = append(t.chains, chains...)
	t.sets = append(t.sets, setsOf(t.elements)...)
	sortBySet(t.elements)
	t.elements, err = c.absent(t.elements, t.replaced)
	return t, err
}

// masqueraded adds the members of a subnet's set.
func (t *takeover) masqueraded(subnet netip.Prefix, members []element) {
	for _, e := range members {
		p, ok := e.prefix()
		if !ok {
			continue // an address outside the subnet belongs to no attachment
		}
		today := masqueradeElement(p, e.owner())
		t.elements = today.followers(append(t.elements, today))
	}
}

// oldChains returns the chains of an earlier version that are called like its sets.
func oldChains(old []set) (cs []chain) {
	for _, s := range old {
		cs = append(cs, chain{table: s.table, name: s.name})
	}
	return cs
}

// absent returns those elements that don't exist, each key once. Replaced ones count as absent.
func (c *Conn) absent(es, replaced []element) (fresh []element, err error) {
	seen, goes := map[string]bool{}, map[string]bool{}
	for _, e := range replaced {
		goes[e.id()] = true
	}
	for chunk := range slices.Chunk(es, removeAtOnce) {
		found, _, err := c.lookUp(chunk)
		if err != nil {
			return nil, err
		}
		for i, f := range found {
			if id := chunk[i].id(); (f == nil || goes[id]) && !seen[id] {
				fresh = append(fresh, chunk[i])
				seen[id] = true
			}
		}
	}
	return fresh, nil
}

// hasOld reports whether an element of masquerade exists as an earlier version made it.
func (c *Conn) hasOld(e element) (bool, error) {
	p, ok := e.prefix()
	if !ok {
		return false, nil
	}
	found, _, err := c.lookUp([]element{{set: oldMasqueradeSet(p), key: e.key}})
	return err == nil && found[0] != nil && found[0].owner() == e.owner(), err
}
