// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/static"
	"github.com/swiftcni/swiftcni/ipam"
)

// reserve asks IPAM for addresses. A network without IPAM has none.
func (at *attaching) reserve(ctx context.Context) (*spec.Result, error) {
	switch at.keys.conf.IPAM.Plugin {
	case "":
		return &spec.Result{}, nil
	case netconf.HostLocal:
		return at.lease(ctx)
	}
	at.otherMAC = true // nobody knows who had the addresses
	if at.keys.conf.IPAM.Plugin == netconf.Static {
		return static.Of(at.keys.conf).Give(at.attachment)
	}
	at.undo.Push("addresses", func() error { return addresses.GiveBack(ctx, at.giver, at.attachment) })
	return at.giver.Add(ctx, nil, at.attachment)
}

// lease leases addresses of host-local's, with the evidence by which the attachment can be proven
// dead one day.
func (at *attaching) lease(ctx context.Context) (*spec.Result, error) {
	conf := at.keys.conf
	local, sets := hostlocal.Of(conf), conf.IPAM.Sets
	dns, err := local.ResolvConf(ctx)
	if err != nil {
		return nil, err
	}
	if at.store == nil {
		if at.store, err = ipam.Open(ctx, conf.IPAM.DataDir, conf.Name); err != nil {
			return nil, fault.Wrap("open the lease store", err)
		}
	}
	store := at.store
	unclean, err := at.restoreLost(store)
	if err != nil {
		return nil, err
	}
	owner, four := names.Lessee(at.attachment), setsOf4(sets)
	leases, err := store.Reserve(ipam.Request{
		Owner: owner,
		Sets:  sets,
		Want:  local.Wanted(at.attachment),
		// A MAC follows from one address alone, the first of IPv4 if there is one.
		OtherMAC:  unclean || at.mac != nil || four > 1,
		OtherMAC6: len(sets) > max(1, four),
		Record:    proof.Record(at.names, owner, at.host),
		Alive:     at.alive(),
		TrueBoot:  at.host.BootIsReal,
		Ending:    at.ending(),
	})
	if err != nil {
		return nil, hostlocal.Error(err)
	}
	history := store.History()
	at.otherMAC, at.endedLately = history.OtherMACs6, history.EndedLately
	at.undo.Push("leases", func() error { return at.release(owner) })
	return local.Result(leases, dns), nil
}

// setsOf4 counts the range sets of IPv4 addresses.
func setsOf4(sets []ipam.RangeSet) (n int) {
	for _, set := range sets {
		if set[0].Start.Is4() {
			n++
		}
	}
	return n
}

// alive says of whom an address may not be taken: of those with a link, and of those that get
// theirs in this call.
func (at *attaching) alive() func(ipam.Record) bool {
	linked := proof.On(at.host, at.conn).AliveOn(at.keys.conf.Name)
	return func(r ipam.Record) bool { return at.reserved[r.Owner] || linked(r) }
}

// ending ends the rest of the dead, before their leases.
func (at *attaching) ending() func(ipam.Record) error {
	end := rules.Ending(at.call, at.keys.conf.Name)
	if !at.call.Heard() {
		return end
	}
	return func(r ipam.Record) error {
		err := end(r)
		if err == nil {
			at.call.Reclaimed(1)
		}
		return err
	}
}

// release gives the leases of this call back, while the store is still locked or after.
func (at *attaching) release(owner ipam.Owner) error {
	if at.store != nil {
		return at.store.Release(owner)
	}
	store, err := ipam.Open(context.Background(), at.keys.conf.IPAM.DataDir, at.keys.conf.Name)
	if err != nil {
		return err
	}
	return errors.Join(store.Release(owner), store.Close())
}

func (at *attaching) unlock() error {
	if at.store == nil {
		return nil
	}
	err := at.store.Close()
	at.store = nil
	return fault.Wrap("close the lease store", err)
}
