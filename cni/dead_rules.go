// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// Elements of the dead: what portmap, firewall and masquerade have of an attachment ends with its proof of death, and
// what leads to an address ends before another container has it.

// endElements returns what removes the elements of a dead attachment, those of portmap and firewall too, before its leases
// end: they would lead to the address's next owner.
func (n *Network) endElements() func(ipam.Record) error {
	asked, empty := false, false
	return func(r ipam.Record) error {
		conn, err := nft.Dial()
		if err != nil {
			return ignoreUnsupported(err)
		}
		defer conn.Close()
		if !asked { // after a boot there are many dead, and usually no rules
			asked = true
			empty, err = conn.Empty()
		}
		if err != nil || empty {
			return ignoreUnsupported(err)
		}
		return n.endElementsOf(conn, r)
	}
}

func (n *Network) endElementsOf(conn *nft.Conn, r ipam.Record) (err error) {
	owner := n.rulesOwner(r.Owner)
	prefixes, addrs := r.Prefixes, r.Addrs
	if len(prefixes) < len(addrs) {
		err, prefixes = conn.DetachOwner(owner), nil
	} else {
		err = conn.Detach(nft.Sender{Owner: owner, Masquerade: prefixes, Guard: &nft.Guard{HostLink: r.Link}})
	}
	removed, portsErr := conn.Unpublish(nft.Publication{Owner: owner, Addrs: prefixes})
	err = errors.Join(err, portsErr, conn.Revoke(nft.Allowance{Owner: owner, Addrs: addrs}, forgetSources))
	forgetRemoved(removed)
	return ignoreUnsupported(err)
}

// endLeading ends what portmap and firewall have left of an owner whose addresses are about to be free, as when they were taken
// out of the list while it was attached: otherwise its ports would lead to the next holder. It's one send of questions.
func endLeading(conn *nft.Conn, owner nft.Owner, list []netip.Prefix) error {
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
	return endChained(conn, owner.Network, []nft.Owner{owner})
}

// endStrangers ends what leads to the attachment's addresses for owners who had them before: dead ones, and those of other
// plugins, which have lost them to this one. It's asked only where somebody may have had an address and given it up
// without us: where another program changed the leases, or another one than host-local gives the addresses.
func (at *attaching) endStrangers() error {
	if !at.otherMAC || len(at.plan.ips) == 0 {
		return nil
	}
	var addrs []netip.Addr
	for _, ip := range at.plan.ips {
		addrs = append(addrs, ip.Address.Addr())
	}
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer at.call.Close(conn, at.endedLately)
	owners, err := conn.OwnersOf(addrs...)
	own, proof := at.network.rulesOwner(names.Lessee(at.attachment)).Short(), proof.On(at.host, at.conn)
	for _, o := range owners {
		if o != own && proof.DeadOwner(o) {
			err = errors.Join(err, RemoveRules(o))
		}
	}
	return ignoreUnsupported(err)
}

// hasStrangers reports whether the ruleset has something for an address of the network's ranges whose owner isn't a live
// attachment of ours, or can't be listed. It lists what there is, so it's asked only of a store that isn't trusted.
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
		owners[p.Owner] = owners[p.Owner] || at.network.ipam.gives(p.Target.Addr())
	}
	for o, err := range conn.Allowed("") {
		if err != nil {
			return true
		}
		owners[o.Owner] = owners[o.Owner] || at.network.ipam.gives(o.Addr)
	}
	for o, ranged := range owners {
		if ranged && proof.DeadOwner(o) {
			return true
		}
	}
	return false
}

// deadInRuleset returns those owners of a network's elements that bridge or ptp made and that are provably dead, whatever
// became of their leases.
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
		ours[published.Owner] = ours[published.Owner] || published.Note == NoteVeth
	}
	var dead []nft.Owner
	for o, made := range ours {
		if made && p.DeadOwner(o) {
			dead = append(dead, o)
		}
	}
	return dead, nil
}
