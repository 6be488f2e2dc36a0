// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"

	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// GC removes every attachment of the network that isn't valid: elements, leases, links. A valid attachment
// needs ContainerID and IfName only. An empty list removes all; other networks aren't touched.
func GC(ctx context.Context, n *Network, valid []Attachment) error {
	if valid == nil {
		return invalidKey("cni.dev/valid-attachments", `GC needs "cni.dev/valid-attachments", a list of {containerID, ifname}`)
	}
	if err := n.checkBridge(); err != nil {
		return err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return failed("open a netlink socket", err)
	}
	defer conn.Close()
	g := &collection{network: n, conn: conn, keep: map[ipam.Owner]bool{}}
	for _, a := range valid {
		g.keep[a.owner()] = true
	}
	err = errors.Join(g.leasesAndElements(), g.links())
	if n.ipam.plugin != "" && n.ipam.plugin != hostLocal {
		err = errors.Join(err, n.delegateGC(ctx))
	}
	if err != nil {
		return asError(err)
	}
	return nil
}

// delegateGC passes GC on to the network's IPAM plugin, as the specification demands.
func (n *Network) delegateGC(ctx context.Context) error {
	return n.delegate(ctx, "GC", Attachment{Path: pathFromEnvironment()})
}

// collection is one pass over what a network holds.
type collection struct {
	network *Network
	conn    *rtnl.Conn
	keep    map[ipam.Owner]bool
}

func (g *collection) leasesAndElements() (err error) {
	n := g.network
	if n.ipam.plugin != hostLocal {
		return g.elements()
	}
	store, err := ipam.OpenExisting(n.ipam.dataDir, n.name)
	if absent(err) {
		return g.elements()
	}
	if err != nil {
		return errors.Join(failed("open the lease store", err), g.elements())
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	// Elements first, and under the lock: see Detach.
	if err := g.elements(); err != nil {
		return err
	}
	return releaseExcept(store, g.keep)
}

func (g *collection) elements() error {
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer conn.Close()
	var keep []nft.Owner
	for o := range g.keep {
		keep = append(keep, nft.Owner{Network: g.network.name, ContainerID: o.ContainerID, IfName: o.IfName})
	}
	return ignoreUnsupported(conn.DetachExcept(g.network.name, keep))
}

// links removes the network's host ends that no valid attachment has: they are known by name and MAC.
func (g *collection) links() error {
	keep := map[string]bool{}
	for o := range g.keep {
		for attempt := range attempts {
			keep[namesOf(g.network.name, o.ContainerID, o.IfName, attempt).link] = true
		}
	}
	var b rtnl.Batch
	for l, err := range g.conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return failed("list links", err)
		}
		if ofNetwork(g.network.name, l.Name, l.MAC) && !keep[l.Name] {
			b.Delete(rtnl.Link{Index: l.Index})
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := g.conn.Do(&b); err != nil && !onlyAbsent(err) {
		return failed("delete links", err)
	}
	return nil
}

// onlyAbsent reports whether all that was refused was gone already.
func onlyAbsent(err error) bool {
	var refused rtnl.Refused
	if !errors.As(err, &refused) {
		return absent(err)
	}
	for _, e := range refused {
		if !absent(e) {
			return false
		}
	}
	return true
}
