// SPDX-License-Identifier: Apache-2.0

// Package rules ends the elements of owners that are gone, whichever plugin made them, and the
// consequences of those elements.
package rules

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/firewalld"
	"github.com/swiftcni/swiftcni/internal/flows"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// The elements of portmap, firewall and masquerade for an attachment end with its proof of death.
// Those that lead to an address end before another container has it.

// Ending returns a function that removes the elements of a dead attachment before its leases end,
// including those of portmap and firewall. Otherwise they would lead to the address's next owner.
func Ending(call *process.Call, network string) func(ipam.Record) error {
	asked, empty := false, false
	return func(r ipam.Record) error {
		conn, err := call.Rules()
		if err != nil {
			return fault.Unsupported(err)
		}
		defer call.DropRules(conn)
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
	flows.EndRemoved(nil, removed)
	return fault.Unsupported(err)
}

// EndLeading ends the remaining elements of portmap and firewall for an owner whose addresses are
// about to be free. There are some if the plugins were taken out of the list while it was attached.
// Its ports would lead to the next holder. It's one send of questions.
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

// EndFollowing removes the elements of portmap and firewall for dead owners. These plugins can't
// tell who is dead, and once the evidence is gone nobody could. A port would be taken for ever.
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
			flows.EndRemoved(nil, removed)
			err = errors.Join(err, unpublishErr)
		}
		if opened[owner.Short()] {
			err = errors.Join(err, conn.Revoke(nft.Allowance{Owner: owner}, firewalld.Forget))
		}
	}
	return err
}

// Clean runs a removal on a socket of its own. So it can take back a change whose answer was lost,
// and may yet come to the socket that made it. A kernel without nftables has nothing to remove.
func Clean(remove func(*nft.Conn) error) error {
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer conn.Close()
	return fault.Unsupported(remove(conn))
}

// Check runs a check of the ruleset, and says what is missing.
func Check(call *process.Call, check func(*nft.Conn) error) error {
	conn, err := call.Rules()
	if err != nil {
		return fault.Wrap("check nftables", err)
	}
	defer call.CloseRules(conn, false)
	err = check(conn)
	var missing *nft.MissingError
	if errors.As(err, &missing) {
		return &spec.Error{Code: spec.CodeInternal, Msg: "ruleset: " + err.Error(), Err: err}
	}
	return fault.Wrap("check nftables", err)
}

// End removes everything from the ruleset that is there for an owner that the caller knows to be
// gone: masquerade, spoof check, ports and openings. The UDP flows and the sources of firewalld
// that resulted from them end too. lives is asked once more, after each look at the ruleset, since
// the owner may come back ([nft.Conn.Spare]). It's nil where that can't be.
func End(o nft.Owner, lives func(nft.Owner) bool) error {
	return Clean(func(conn *nft.Conn) error {
		conn.Spare(lives)
		removed, err := conn.Unpublish(nft.Publication{Owner: o})
		err = errors.Join(err, conn.DetachOwner(o), conn.Revoke(nft.Allowance{Owner: o}, firewalld.Forget))
		flows.EndRemoved(nil, removed)
		return err
	})
}

// NoteVeth is kept with a published address that bridge or ptp has attached. The owner's names then
// tell which links can prove its death, whatever becomes of its lease.
const NoteVeth = "veth"

// Tidy removes the sets and chains that no attachment uses any more, and takes over those of an
// earlier version.
func Tidy() error { return Clean((*nft.Conn).Tidy) }
