// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/firewalld"
	"github.com/swiftcni/swiftcni/internal/flows"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// GC removes what isn't of valid attachments, whether it lives or not.
func (k *Keys) GC(ctx context.Context, c *verbs.Call, valid []spec.Attachment) error {
	if err := k.side().problem(k.conf); err != nil {
		return err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	g := &collection{conf: k.conf, conn: conn, valid: make(map[ipam.Owner]bool, len(valid))}
	for _, a := range valid {
		g.valid[names.Lessee(a)] = true
	}
	g.keeps = func(r ipam.Record) bool { return g.valid[r.Owner] }
	err = g.run(ctx)
	if k.conf.Delegates() {
		err = errors.Join(err, k.addresses().GC(ctx, c, valid))
	}
	return fault.Join(err)
}

// Reclaim removes what is provably dead.
func (k *Keys) Reclaim(ctx context.Context, c *verbs.Call) error {
	if err := k.side().problem(k.conf); err != nil {
		return err
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	g := &collection{conf: k.conf, conn: conn, unleased: true}
	if err := g.keepAlive(); err != nil {
		return err
	}
	if err = g.run(ctx); err == nil {
		process.Of(ctx).Reclaimed(len(g.ended))
	}
	if k.conf.Delegates() {
		err = errors.Join(err, k.addresses().Reclaim(ctx, c))
	}
	return fault.Join(err)
}

// ReclaimLeases ends the leases and elements of a network's attachments that are provably dead, and
// says whose they were. It needs no configuration but where the leases are: dataDir is host-local's
// key, "" its default.
func ReclaimLeases(ctx context.Context, dataDir, network string) ([]ipam.Record, error) {
	if dataDir == "" {
		dataDir = netconf.DefaultDataDir
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return nil, fault.Wrap("open a netlink socket", err)
	}
	defer conn.Close()
	conf := &netconf.Network{Name: network, IPAM: netconf.IPAM{Plugin: netconf.HostLocal, DataDir: dataDir}}
	g := &collection{conf: conf, conn: conn}
	if err := g.keepAlive(); err != nil {
		return nil, err
	}
	if err := g.run(ctx); err != nil {
		return nil, fault.Of(err)
	}
	return g.ended, nil
}

// keepAlive makes the pass leave alone whatever isn't provably dead.
func (g *collection) keepAlive() error {
	var err error
	if g.proof, err = proof.New(g.conn); err != nil {
		return err
	}
	g.keeps = g.proof.AliveOn(g.conf.Name)
	return nil
}

// collection is one pass over what a network holds.
type collection struct {
	conf  *netconf.Network
	conn  *rtnl.Conn
	valid map[ipam.Owner]bool    // nil: there is no list
	proof *proof.Proof           // by which it's told then
	keeps func(ipam.Record) bool // what the pass leaves alone
	ended []ipam.Record          // what it didn't

	unleased bool // the dead without a lease lose their elements, too
}

// run goes in Detach's order, and under the same lock.
func (g *collection) run(ctx context.Context) (err error) {
	n := g.conf
	if n.IPAM.Plugin != netconf.HostLocal {
		return errors.Join(g.elements(nil), g.links())
	}
	store, err := ipam.OpenExisting(ctx, n.IPAM.DataDir, n.Name)
	if err != nil {
		if fault.Absent(err) {
			err = nil
		}
		return errors.Join(fault.Wrap("open the lease store", err), g.elements(nil), g.links())
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if g.proof != nil {
		store.NoteBoot(g.proof.Boot(), g.proof.BootIsReal)
	}
	dead, err := hostlocal.RecordsExcept(store, g.keeps)
	if err != nil {
		return err
	}
	if err := errors.Join(g.elements(dead), g.links()); err != nil {
		return err
	}
	g.ended = dead
	return fault.Wrap("release leases", store.ReleaseAll(dead))
}

// elements removes those of owners that aren't valid or, without a list, of the dead.
func (g *collection) elements(dead []ipam.Record) error {
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer conn.Close()
	var owners []nft.Owner
	add := func(o ipam.Owner) {
		owners = append(owners, names.RulesOwner(g.conf.Name, o))
	}
	if g.valid == nil {
		for _, r := range dead {
			add(r.Owner)
		}
		if g.unleased {
			more, err := deadInRuleset(g.proof, conn, g.conf.Name)
			if err != nil {
				return fault.Unsupported(err)
			}
			owners = append(owners, more...)
			g.spareReturning(conn, more)
		}
		if owners == nil {
			return fault.Unsupported(conn.Tidy())
		}
		if err := conn.DetachOwner(owners...); err != nil {
			return fault.Unsupported(err)
		}
		return fault.Unsupported(rules.EndFollowing(conn, g.conf.Name, owners))
	}
	for o := range g.valid {
		add(o)
	}
	// Ports and openings go before the leases too: portmap's and firewall's own GC comes later, if
	// it comes at all.
	err = conn.DetachExcept(g.conf.Name, owners)
	if leads, askErr := conn.MayForward(); !leads {
		return fault.Unsupported(errors.Join(err, askErr))
	}
	removed, portsErr := conn.UnpublishExcept(g.conf.Name, owners)
	flows.EndRemoved(nil, removed)
	return fault.Unsupported(errors.Join(err, portsErr, conn.RevokeExcept(g.conf.Name, owners, firewalld.Forget)))
}

// spareReturning leaves alone those of the dead that come back: without a lease no lock keeps them
// from it.
func (g *collection) spareReturning(conn *nft.Conn, dead []nft.Owner) {
	unleased := make(map[nft.Owner]bool, len(dead))
	for _, o := range dead {
		unleased[o] = true
	}
	conn.Spare(func(o nft.Owner) bool { return unleased[o.Short()] && g.proof.IsBack(o) })
}

// links removes the network's host ends that no valid attachment has: they are known by index, and
// MAC or alias. A link that's there proves nobody's death.
func (g *collection) links() error {
	if g.valid == nil {
		return nil
	}
	keep := map[int]bool{}
	for o := range g.valid {
		for attempt := range names.Attempts {
			keep[names.Of(g.conf.Name, o.ContainerID, o.IfName, attempt).Index] = true
		}
	}
	var gone []int
	for l, err := range g.conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return fault.Wrap("list links", err)
		}
		_, owned := names.Owner(g.conf.Name, l.Link)
		if (owned || names.InNetwork(g.conf.Name, l.Link)) && !keep[l.Index] {
			gone = append(gone, l.Index)
		}
	}
	return fault.Wrap("delete links", g.deleteLinks(gone))
}

// deleteLinks deletes links by a group that they're put in: the kernel waits for its readers once
// for all links that a message deletes (unregister_netdevice_many, net/core/dev.c), some 10 ms, and
// for each message anew.
func (g *collection) deleteLinks(indexes []int) error {
	if len(indexes) == 0 {
		return nil
	}
	group, err := names.UnusedGroup()
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
