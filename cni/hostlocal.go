// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
)

// The plugin host-local: what a plugin that isn't ours delegates to. It knows nothing of links, so its leases
// carry no evidence, and only DEL and GC end them.

func addHostLocal(ctx context.Context, n *Network, a Attachment) (_ *Result, err error) {
	if err := n.checkHostLocal(); err != nil {
		return nil, err
	}
	dns, err := n.ipam.readResolvConf()
	if err != nil {
		return nil, err
	}
	store, err := ipam.Open(ctx, n.ipam.dataDir, n.name)
	if err != nil {
		return nil, failed("open the lease store", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	leases, err := store.Reserve(ipam.Request{Owner: names.Lessee(a), Sets: n.ipam.sets, Want: n.wanted(a), OtherMAC: true,
		Record: ipam.Record{Owner: names.Lessee(a)}})
	if err != nil {
		return nil, ipamError(err)
	}
	res := n.localResult(leases, dns)
	res.OfIPAM = true
	return res, nil
}

// existing runs fn on the network's store, or not at all where nothing was ever leased.
func (n *Network) existing(ctx context.Context, fn func(*ipam.Store) error) error {
	store, err := ipam.OpenExisting(ctx, n.ipam.dataDir, n.name)
	if absent(err) {
		return nil
	}
	if err != nil {
		return failed("open the lease store", err)
	}
	return errors.Join(fn(store), store.Close())
}

func delHostLocal(ctx context.Context, n *Network, a Attachment) error {
	return n.existing(ctx, func(s *ipam.Store) error { return failed("release the lease", s.Release(names.Lessee(a))) })
}

func checkHostLocal(ctx context.Context, n *Network, a Attachment, _ *Result) error {
	if err := n.checkHostLocal(); err != nil {
		return err
	}
	return n.checkLease(ctx, a)
}

// checkLease finds out whether the attachment holds a lease.
func (n *Network) checkLease(ctx context.Context, a Attachment) error {
	found := false
	store, err := ipam.OpenReadOnly(ctx, n.ipam.dataDir, n.name)
	if err == nil {
		_, found, err = store.Lookup(names.Lessee(a))
		err = errors.Join(err, store.Close())
	}
	if err != nil && !absent(err) {
		return failed("look up the lease", err)
	}
	if !found {
		return &Error{Code: CodeInternal, Msg: "host-local: Failed to find address added by container " + a.ContainerID}
	}
	return nil
}

// gcHostLocal ends the leases of whoever isn't valid. Without a list it knows of nobody's death.
func gcHostLocal(ctx context.Context, n *Network, valid []Attachment) error {
	if err := n.checkHostLocal(); err != nil {
		return err
	}
	if valid == nil {
		return nil
	}
	keep := map[ipam.Owner]bool{}
	for _, a := range valid {
		keep[names.Lessee(a)] = true
	}
	return n.existing(ctx, func(s *ipam.Store) error {
		dead, err := recordsExcept(s, func(r ipam.Record) bool { return keep[r.Owner] })
		return errors.Join(err, failed("release leases", s.ReleaseAll(dead)))
	})
}

// recordsExcept lists who holds leases, but for those to keep.
func recordsExcept(s *ipam.Store, keeps func(ipam.Record) bool) (list []ipam.Record, err error) {
	for r, err := range s.Records() {
		if err != nil {
			return nil, failed("list leases", err)
		}
		if !keeps(r) {
			list = append(list, r)
		}
	}
	return list, nil
}

func statusHostLocal(ctx context.Context, n *Network) error {
	if err := n.checkHostLocal(); err != nil {
		return err
	}
	return n.statusLocal(ctx)
}
