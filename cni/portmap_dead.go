// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"slices"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// NoteVeth is kept with a published address that bridge or ptp has attached: the owner's names then tell by which links
// it can be proven dead, whatever becomes of its lease.
const NoteVeth = "veth"

// noteOf says whether prevResult shows a host end that bridge or ptp made for an attachment.
func (n *Network) noteOf(a Attachment) string {
	for _, i := range n.prev.Interfaces {
		for attempt := range names.Attempts {
			if i.Sandbox == "" && i.Name == names.Of(n.name, a.ContainerID, a.IfName, attempt).Link {
				return NoteVeth
			}
		}
	}
	return ""
}

// publishPorts publishes, and ends whoever has one of the ports and is provably dead: another container, or an earlier attachment
// of this one, which would keep the port from the new one. It returns what others of this one's attachments have.
func (n *Network) publishPorts(conn *nft.Conn, p nft.Publication) ([]nft.PortTakenError, error) {
	for holders := 0; ; holders++ {
		waiting, err := conn.Publish(p)
		var taken *nft.PortTakenError
		if !errors.As(err, &taken) {
			return waiting, errors.Join(err, n.endDead(waiting))
		}
		if taken.Holder == (nft.Owner{}) || holders > 2*len(p.Ports) {
			return nil, err
		}
		dead, proofErr := n.holderIsDead(taken)
		if proofErr != nil || !dead {
			return nil, errors.Join(err, proofErr)
		}
		if endErr := RemoveRules(taken.Holder); endErr != nil {
			return nil, errors.Join(err, endErr)
		}
	}
}

// endDead ends the holders that are provably dead. Their ports go to whoever waits for them.
func (n *Network) endDead(held []nft.PortTakenError) error {
	asked := map[nft.Owner]bool{}
	for i := range held {
		if asked[held[i].Holder] {
			continue
		}
		asked[held[i].Holder] = true
		dead, err := n.holderIsDead(&held[i])
		if err == nil && dead {
			err = RemoveRules(held[i].Holder)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holderIsDead reports whether the holder of a port is provably dead: by its names, where the ruleset says that bridge or
// ptp made it, else by the record of its lease, where that is found.
func (n *Network) holderIsDead(taken *nft.PortTakenError) (bool, error) {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return false, failed("open a netlink socket", err)
	}
	defer conn.Close()
	proof, err := proof.New(conn)
	if err != nil {
		return false, err
	}
	if taken.Note == NoteVeth {
		return proof.DeadOwner(taken.Holder), nil
	}
	for _, dir := range []string{n.ipam.dataDir, defaultDataDir} {
		r, found, err := leaseOf(dir, taken.Holder)
		if err != nil || found && slices.Contains(r.Addrs, taken.Target.Addr()) {
			return err == nil && proof.Dead(taken.Holder.Network, r), err
		}
	}
	return false, nil
}

// leaseOf looks an owner up in a directory of leases, "" being none.
func leaseOf(dir string, o nft.Owner) (r ipam.Record, found bool, err error) {
	if dir == "" {
		return r, false, nil
	}
	store, err := ipam.OpenReadOnly(context.Background(), dir, o.Network)
	if err != nil {
		if absent(err) || errors.Is(err, ipam.ErrInvalid) {
			err = nil
		}
		return r, false, failed("open the lease store", err)
	}
	r, found, err = store.Lookup(ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName})
	store.Witness(&r)
	return r, found, failed("look up the lease", errors.Join(err, store.Close()))
}
