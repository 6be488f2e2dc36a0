// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// OwnersOf returns the owners, by their short names, whose published ports lead to an address or
// whose way through the firewall is for that address. It's one send, however much other owners
// have.
func (c *Conn) OwnersOf(addrs ...netip.Addr) ([]Owner, error) {
	var es []element
	for _, a := range addrs {
		f := familyOf(a)
		for _, s := range []set{f.published(), pick(f, open4, open6), pick(f, noted4, noted6)} {
			es = append(es, element{set: s, key: a.AsSlice()})
		}
	}
	replies, err := c.ask(lookUps(es))
	if err != nil {
		return nil, err
	}
	found, err := decodeLookUps(es, replies)
	var owners []Owner
	for _, e := range dense(found) {
		if o, ok := parseOwner(e.owner()); ok && !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return owners, err
}

// Empty reports whether the ruleset has none of our tables, as after a boot, so that no owner has
// anything in it.
func (c *Conn) Empty() (bool, error) {
	var ms []netlink.Message
	for _, t := range []table{masqueradeTable, guardTable} {
		ms = append(ms, request(unix.NFT_MSG_GETTABLE, t.family, nameAttribute{unix.NFTA_TABLE_NAME, t.name}))
	}
	replies, err := c.ask(ms)
	for _, r := range replies {
		if r.errno == 0 {
			return false, err
		}
	}
	return err == nil, err
}

// MayForward reports whether the ruleset has any set for port mappings or allowances, so that some
// may exist. It's one question.
func (c *Conn) MayForward() (leads bool, err error) {
	names := firewallSets()
	err = c.setNames(func(name string) {
		r, isRole := roleOf(name)
		_, isOld := oldPortSet(name)
		isPorts := isRole && r.isPortSet() || isOld
		leads = leads || isPorts || slices.ContainsFunc(names, func(s set) bool { return s.name == name })
	})
	return leads, err
}

// there returns those of some sets that exist. That is one question; a listing of each set would be
// one question for each.
func (c *Conn) there(sets []set) (list []set, err error) {
	err = c.setNames(func(name string) {
		for _, s := range sets {
			if s.name == name {
				list = append(list, s)
			}
		}
	})
	return list, err
}
