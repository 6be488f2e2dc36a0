// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"context"
	"errors"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// noteOf tells whether prevResult shows a host end that bridge or ptp made for an attachment.
func noteOf(c *verbs.Call, a spec.Attachment) string {
	if _, index := names.Shown(c.Network, a, c.Prev); index != 0 {
		return rules.NoteVeth
	}
	return ""
}

// publishPorts publishes. It ends holders of the ports that are provably dead: another container,
// or an earlier attachment of this one, which would keep the port from the new one. It returns the
// ports that other attachments of this container have.
func publishPorts(ctx context.Context, c *verbs.Call, conn *nft.Conn, p nft.Publication) ([]nft.PortTakenError, error) {
	for holders := 0; ; holders++ {
		waiting, err := conn.Publish(p)
		var taken *nft.PortTakenError
		if !errors.As(err, &taken) {
			return waiting, errors.Join(err, endDead(ctx, c, waiting))
		}
		if taken.Holder == (nft.Owner{}) || holders > 2*len(p.Ports) {
			return nil, err
		}
		dead, proofErr := holderIsDead(ctx, c, taken)
		if proofErr != nil || !dead {
			return nil, errors.Join(err, proofErr)
		}
		if endErr := end(ctx, c, taken); endErr != nil {
			return nil, errors.Join(err, endErr)
		}
	}
}

// endDead ends the holders that are provably dead. Their ports go to attachments that wait for
// them.
func endDead(ctx context.Context, c *verbs.Call, held []nft.PortTakenError) error {
	asked := map[nft.Owner]bool{}
	for i := range held {
		if asked[held[i].Holder] {
			continue
		}
		asked[held[i].Holder] = true
		dead, err := holderIsDead(ctx, c, &held[i])
		if err == nil && dead {
			err = end(ctx, c, &held[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end ends a holder, unless it has come back meanwhile.
func end(ctx context.Context, c *verbs.Call, taken *nft.PortTakenError) error {
	return rules.End(taken.Holder, func(nft.Owner) bool {
		dead, err := holderIsDead(ctx, c, taken)
		return err != nil || !dead
	})
}

// holderIsDead reports whether the holder of a port is provably dead. If the ruleset says that
// bridge or ptp made it, its names tell. Otherwise the record of its lease tells, if that is found.
func holderIsDead(ctx context.Context, c *verbs.Call, taken *nft.PortTakenError) (bool, error) {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return false, fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	proof, err := proof.New(conn)
	if err != nil {
		return false, err
	}
	if taken.Note == rules.NoteVeth {
		return proof.DeadOwner(taken.Holder), nil
	}
	for _, dir := range []string{c.LeaseDir, ipam.DefaultDir} {
		r, found, err := leaseOf(ctx, dir, taken.Holder)
		if err != nil || found && slices.Contains(r.Addrs, taken.Target.Addr()) {
			return err == nil && proof.Dead(taken.Holder.Network, r), err
		}
	}
	return false, nil
}

// leaseOf looks an owner up in a directory of leases. "" is no directory.
func leaseOf(ctx context.Context, dir string, o nft.Owner) (r ipam.Record, found bool, err error) {
	if dir == "" {
		return r, false, nil
	}
	store, err := ipam.OpenReadOnly(ctx, dir, o.Network)
	if err != nil {
		if fault.Absent(err) || errors.Is(err, ipam.ErrInvalid) {
			err = nil
		}
		return r, false, fault.Wrap("open the lease store", err)
	}
	r, found, err = store.Lookup(ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName})
	store.Witness(&r)
	return r, found, fault.Wrap("look up the lease", errors.Join(err, store.Close()))
}
