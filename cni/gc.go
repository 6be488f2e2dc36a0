// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/firewalld"
	"github.com/swiftcni/swiftcni/internal/flows"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

func gcBridged(ctx context.Context, n *Network, valid []Attachment) error {
	if err := n.checkBridge(); err != nil {
		return err
	}
	return n.gc(ctx, valid)
}

// gc removes what isn't valid or, without a list, what is provably dead.
func (n *Network) gc(ctx context.Context, valid []Attachment) error {
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return failed("open a netlink socket", err)
	}
	defer conn.Close()
	g := &collection{network: n, conn: conn}
	if valid == nil {
		if err := g.keepAlive(); err != nil {
			return err
		}
		g.unleased = true
	} else {
		g.valid = map[ipam.Owner]bool{}
		for _, a := range valid {
			g.valid[names.Lessee(a)] = true
		}
		g.keeps = func(r ipam.Record) bool { return g.valid[r.Owner] }
	}
	err = g.run(ctx)
	if n.delegates() {
		err = errors.Join(err, n.delegateGC(ctx))
	}
	if err != nil {
		return asError(err)
	}
	return nil
}

// ReclaimLeases ends the leases and elements of a network's attachments that are provably dead, and says whose they
// were. It needs no configuration but where the leases are: dataDir is host-local's key, "" its default.
func ReclaimLeases(ctx context.Context, dataDir, network string) ([]ipam.Record, error) {
	if dataDir == "" {
		dataDir = defaultDataDir
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return nil, failed("open a netlink socket", err)
	}
	defer conn.Close()
	n := &Network{name: network, ipam: ipamKeys{plugin: hostLocal, dataDir: dataDir}}
	g := &collection{network: n, conn: conn}
	if err := g.keepAlive(); err != nil {
		return nil, err
	}
	if err := g.run(ctx); err != nil {
		return nil, asError(err)
	}
	return g.ended, nil
}

// keepAlive makes the pass leave alone whatever isn't provably dead.
func (g *collection) keepAlive() error {
	var err error
	if g.proof, err = proof.New(g.conn); err != nil {
		return err
	}
	g.keeps = g.proof.AliveOn(g.network.name)
	return nil
}

// delegateGC passes GC on to the network's IPAM plugin, as the specification demands.
func (n *Network) delegateGC(ctx context.Context) error {
	return n.delegate(ctx, "GC", Attachment{})
}

// collection is one pass over what a network holds.
type collection struct {
	network *Network
	conn    *rtnl.Conn
	valid   map[ipam.Owner]bool    // nil: nobody said who is valid
	proof   *proof.Proof           // by which it's told then
	keeps   func(ipam.Record) bool // what the pass leaves alone
	ended   []ipam.Record          // what it didn't

	unleased bool // those too who have no lease any more, but elements
}

// run goes in Detach's order, and under the same lock.
func (g *collection) run(ctx context.Context) (err error) {
	n := g.network
	if n.ipam.plugin != hostLocal {
		return errors.Join(g.elements(nil), g.links())
	}
	store, err := ipam.OpenExisting(ctx, n.ipam.dataDir, n.name)
	if err != nil {
		if absent(err) {
			err = nil
		}
		return errors.Join(failed("open the lease store", err), g.elements(nil), g.links())
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if g.proof != nil {
		store.NoteBoot(g.proof.Boot(), g.proof.BootIsReal)
	}
	dead, err := recordsExcept(store, g.keeps)
	if err != nil {
		return err
	}
	if err := errors.Join(g.elements(dead), g.links()); err != nil {
		return err
	}
	g.ended = dead
	return failed("release leases", store.ReleaseAll(dead))
}

// elements removes those of owners that aren't valid or, if nobody said who is, of the dead.
func (g *collection) elements(dead []ipam.Record) error {
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer conn.Close()
	var owners []nft.Owner
	add := func(o ipam.Owner) {
		owners = append(owners, g.network.rulesOwner(o))
	}
	if g.valid == nil {
		for _, r := range dead {
			add(r.Owner)
		}
		if g.unleased {
			more, err := deadInRuleset(g.proof, conn, g.network.name)
			if err != nil {
				return ignoreUnsupported(err)
			}
			owners = append(owners, more...)
		}
		if owners == nil {
			return ignoreUnsupported(conn.Tidy())
		}
		if err := conn.DetachOwner(owners...); err != nil {
			return ignoreUnsupported(err)
		}
		return ignoreUnsupported(rules.EndFollowing(conn, g.network.name, owners))
	}
	for o := range g.valid {
		add(o)
	}
	// Ports and openings go before the leases too: portmap's and firewall's own GC comes later, if it comes at all.
	err = conn.DetachExcept(g.network.name, owners)
	if leads, askErr := conn.MayForward(); !leads {
		return ignoreUnsupported(errors.Join(err, askErr))
	}
	removed, portsErr := conn.UnpublishExcept(g.network.name, owners)
	flows.EndRemoved(removed)
	return ignoreUnsupported(errors.Join(err, portsErr, conn.RevokeExcept(g.network.name, owners, firewalld.Forget)))
}

// links removes the network's host ends that no valid attachment has: they are known by index, and MAC or alias. A
// link that's there proves nobody's death.
func (g *collection) links() error {
	if g.valid == nil {
		return nil
	}
	keep := map[int]bool{}
	for o := range g.valid {
		for attempt := range names.Attempts {
			keep[names.Of(g.network.name, o.ContainerID, o.IfName, attempt).Index] = true
		}
	}
	var gone []int
	for l, err := range g.conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return failed("list links", err)
		}
		_, owned := names.Owner(g.network.name, l)
		if (owned || names.InNetwork(g.network.name, l)) && !keep[l.Index] {
			gone = append(gone, l.Index)
		}
	}
	return failed("delete links", g.deleteLinks(gone))
}

// deleteLinks deletes links by a group that they're put in: the kernel waits for its readers once for all links that
// a message deletes (unregister_netdevice_many, net/core/dev.c), some 10 ms, and for each message anew.
func (g *collection) deleteLinks(indexes []int) error {
	if len(indexes) == 0 {
		return nil
	}
	group, err := unusedGroup()
	if err != nil {
		return err
	}
	var b rtnl.Batch
	for _, i := range indexes {
		b.Set(rtnl.Link{Index: i, Group: group})
	}
	b.Delete(rtnl.Link{Group: group})
	if err := g.conn.Do(&b); err != nil && !fault.OnlyAbsent(err) {
		return err
	}
	return nil
}

// unusedGroup is a number that nobody else has chosen for a group of links, but for one chance in two billion.
func unusedGroup() (uint32, error) {
	var random [4]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint32(random[:]) | 1<<31, nil // small ones are people's
}
