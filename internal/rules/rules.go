// SPDX-License-Identifier: Apache-2.0

// Package rules ends what the ruleset has of owners who are gone, whichever plugin has put it there, and what came of it.
package rules

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/firewalld"
	"github.com/swiftcni/swiftcni/internal/flows"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// Elements of the dead: what portmap, firewall and masquerade have of an attachment ends with its proof of death, and
// what leads to an address ends before another container has it.

// Ending returns what removes the elements of a dead attachment, those of portmap and firewall too, before its leases
// end: they would lead to the address's next owner.
func Ending(network string) func(ipam.Record) error {
	asked, empty := false, false
	return func(r ipam.Record) error {
		conn, err := nft.Dial()
		if err != nil {
			return fault.Unsupported(err)
		}
		defer conn.Close()
		if !asked { // after a boot there are many dead, and usually no rules
			asked = true
			empty, err = conn.Empty()
		}
		if err != nil || empty {
			return fault.Unsupported(err)
		}
		return endOf(conn, network, r)
	}
}

func endOf(conn *nft.Conn, network string, r ipam.Record) (err error) {
	owner := names.RulesOwner(network, r.Owner)
	prefixes, addrs := r.Prefixes, r.Addrs
	if len(prefixes) < len(addrs) {
		err, prefixes = conn.DetachOwner(owner), nil
	} else {
		err = conn.Detach(nft.Sender{Owner: owner, Masquerade: prefixes, Guard: &nft.Guard{HostLink: r.Link}})
	}
	removed, portsErr := conn.Unpublish(nft.Publication{Owner: owner, Addrs: prefixes})
	err = errors.Join(err, portsErr, conn.Revoke(nft.Allowance{Owner: owner, Addrs: addrs}, firewalld.Forget))
	flows.EndRemoved(removed)
	return fault.Unsupported(err)
}

// EndLeading ends what portmap and firewall have left of an owner whose addresses are about to be free, as when they were taken
// out of the list while it was attached: otherwise its ports would lead to the next holder. It's one send of questions.
func EndLeading(conn *nft.Conn, owner nft.Owner, list []netip.Prefix) error {
	var addrs []netip.Addr
	for _, p := range list {
		addrs = append(addrs, p.Addr())
	}
	if addrs == nil {
		return nil
	}
	owners, err := conn.OwnersOf(addrs...)
	if err != nil || !slices.Contains(owners, owner.Short()) {
		return err
	}
	return EndFollowing(conn, owner.Network, []nft.Owner{owner})
}

// EndFollowing takes out what portmap and firewall have of the dead. They can't tell who is, and once the evidence is gone
// nobody could: a port would be taken for ever.
func EndFollowing(conn *nft.Conn, network string, dead []nft.Owner) error {
	published, opened := map[nft.Owner]bool{}, map[nft.Owner]bool{}
	for p, err := range conn.Published(network) {
		if err != nil {
			return err
		}
		published[p.Owner] = true
	}
	for o, err := range conn.Allowed(network) {
		if err != nil {
			return err
		}
		opened[o.Owner] = true
	}
	var err error
	for _, owner := range dead {
		if published[owner.Short()] {
			removed, unpublishErr := conn.Unpublish(nft.Publication{Owner: owner})
			flows.EndRemoved(removed)
			err = errors.Join(err, unpublishErr)
		}
		if opened[owner.Short()] {
			err = errors.Join(err, conn.Revoke(nft.Allowance{Owner: owner}, firewalld.Forget))
		}
	}
	return err
}

// End takes out of the ruleset whatever is in it for an owner who is gone, as the caller knows: masquerade, spoof
// check, ports and openings. UDP flows and firewalld's sources that came of them end too.
func End(o nft.Owner) error {
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer conn.Close()
	removed, err := conn.Unpublish(nft.Publication{Owner: o})
	err = errors.Join(err, conn.DetachOwner(o), conn.Revoke(nft.Allowance{Owner: o}, firewalld.Forget))
	flows.EndRemoved(removed)
	return fault.Unsupported(err)
}

// NoteVeth is kept with a published address that bridge or ptp has attached: the owner's names then tell by which links
// it can be proven dead, whatever becomes of its lease.
const NoteVeth = "veth"

// Tidy takes out of the ruleset the sets and chains that no attachment uses any more, and takes over what an earlier version
// made.
func Tidy() error {
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer conn.Close()
	return fault.Unsupported(conn.Tidy())
}
