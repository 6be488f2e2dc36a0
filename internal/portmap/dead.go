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
		if dead, endErr := endIfDead(ctx, c, taken); endErr != nil || !dead {
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
		if _, err := endIfDead(ctx, c, &held[i]); err != nil {
			return err
		}
	}
	return nil
}

// endIfDead ends the holder of a port if it's provably dead, and unless it comes back meanwhile. If
// the ruleset says that bridge or ptp made it, its names tell. Otherwise the record of its lease tells,
// if that is found.
func endIfDead(ctx context.Context, c *verbs.Call, taken *nft.PortTakenError) (dead bool, err error) {
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
		return endIf(proof.DeadOwner(taken.Holder), proof, taken)
	}
	for _, dir := range []string{c.LeaseDir, ipam.DefaultDir} {
		if found, dead, err := endLeased(ctx, dir, proof, taken); found || err != nil {
			return dead, err
		}
	}
	return false, nil
}

// endIf ends a dead holder. The proof may have taken a look into every namespace. Whether it still
// holds is asked in between a look at the ruleset and the change, so that takes a few questions.
func endIf(dead bool, p *proof.Proof, taken *nft.PortTakenError) (bool, error) {
	if !dead {
		return false, nil
	}
	return true, rules.End(taken.Holder, p.IsBack)
}

// endLeased is endIfDead by the record in a directory of leases. "" is no directory. The leases stay
// locked to the end, since an ADD of any plugin begins with its lease.
func endLeased(ctx context.Context, dir string, p *proof.Proof, taken *nft.PortTakenError) (found, dead bool, err error) {
	if dir == "" {
		return false, false, nil
	}
	o := taken.Holder
	store, err := ipam.OpenReadOnly(ctx, dir, o.Network)
	if err != nil {
		if fault.Absent(err) || errors.Is(err, ipam.ErrInvalid) {
			err = nil
		}
		return false, false, fault.Wrap("open the lease store", err)
	}
	defer store.Close()
	r, _, err := store.Lookup(ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName})
	if err != nil || !slices.Contains(r.Addrs, taken.Target.Addr()) {
		return false, false, fault.Wrap("look up the lease", err)
	}
	store.Witness(&r)
	dead, err = endIf(p.Dead(o.Network, r), p, taken)
	return true, dead, err
}
