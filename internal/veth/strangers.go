// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/nft"
)

// endStrangers ends what leads to the attachment's addresses for owners who had them before: dead
// ones, and those of other plugins, which have lost them to this one. It's asked only where
// somebody may have had an address and given it up without us: where another program changed the
// leases, or another one than host-local gives the addresses.
func (at *attaching) endStrangers() error {
	if !at.otherMAC || len(at.plan.IPs) == 0 {
		return nil
	}
	var addrs []netip.Addr
	for _, ip := range at.plan.IPs {
		addrs = append(addrs, ip.Address.Addr())
	}
	conn, err := at.call.Rules()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer at.call.CloseRules(conn, at.endedLately)
	owners, err := conn.OwnersOf(addrs...)
	own, proof := at.keys.owner(at.attachment).Short(), proof.On(at.host, at.conn)
	for _, o := range owners {
		if o != own && proof.DeadOwner(o) {
			err = errors.Join(err, rules.End(o, proof.IsBack))
		}
	}
	return fault.Unsupported(err)
}

// hasStrangers reports whether the ruleset has something for an address of the network's ranges
// whose owner isn't a live attachment of ours, or can't be listed. It lists what there is, so it's
// asked only of a store that isn't trusted.
func (at *attaching) hasStrangers() bool {
	conn, err := nft.Dial()
	if err != nil {
		return false // then there's no ruleset
	}
	defer conn.Close()
	proof, owners := proof.On(at.host, at.conn), map[nft.Owner]bool{}
	for p, err := range conn.Published("") {
		if err != nil {
			return true
		}
		owners[p.Owner] = owners[p.Owner] || gives(at.keys.conf.IPAM.Sets, p.Target.Addr())
	}
	for o, err := range conn.Allowed("") {
		if err != nil {
			return true
		}
		owners[o.Owner] = owners[o.Owner] || gives(at.keys.conf.IPAM.Sets, o.Addr)
	}
	for o, ranged := range owners {
		if ranged && proof.DeadOwner(o) {
			return true
		}
	}
	return false
}

// deadInRuleset returns those owners of a network's elements that bridge or ptp made and that are
// provably dead, whatever became of their leases.
func deadInRuleset(p *proof.Proof, conn *nft.Conn, network string) ([]nft.Owner, error) {
	ours := map[nft.Owner]bool{}
	for a, err := range conn.Senders(network) {
		if err != nil {
			return nil, err
		}
		ours[a.Owner] = true
	}
	for published, err := range conn.Published(network) {
		if err != nil {
			return nil, err
		}
		ours[published.Owner] = ours[published.Owner] || published.Note == rules.NoteVeth
	}
	var dead []nft.Owner
	for o, made := range ours {
		if made && p.DeadOwner(o) {
			dead = append(dead, o)
		}
	}
	return dead, nil
}
