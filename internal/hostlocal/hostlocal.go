// SPDX-License-Identifier: Apache-2.0

// Package hostlocal is the plugin that leases addresses from ranges, and keeps the leases on this
// host.
//
// By itself it's what a plugin that isn't ours delegates to. It knows nothing of links then, so its
// leases carry no evidence, and only DEL and GC end them. bridge and ptp reserve with evidence, by
// package veth.
package hostlocal

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
)

// Keys are its own, of one network.
type Keys struct{ conf *netconf.Network }

// Read reads them.
func Read(n *netconf.Network) verbs.Plugin { return Of(n) }

// Of is Read for a plugin that asks for addresses.
func Of(n *netconf.Network) *Keys { return &Keys{n} }

// Wrong finds what is wrong with the ranges.
func (k *Keys) Wrong(spec.Attachment) *spec.Error { return k.conf.IPAM.SetsErr }

// Add leases an address of each set.
func (k *Keys) Add(ctx context.Context, _ *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	res, err := k.Lease(ctx, a, ipam.Request{OtherMAC: true, Record: ipam.Record{Owner: names.Lessee(a)}})
	if err != nil {
		return nil, err
	}
	res.OfIPAM = true
	return res, nil
}

// Lease is Add for a plugin that has evidence of the attachment. It fills in whose the addresses
// are, and from which ranges.
func (k *Keys) Lease(ctx context.Context, a spec.Attachment, req ipam.Request) (_ *spec.Result, err error) {
	if e := k.conf.IPAM.SetsErr; e != nil {
		return nil, e
	}
	dns, err := k.ResolvConf(ctx)
	if err != nil {
		return nil, err
	}
	store, err := ipam.Open(ctx, k.conf.IPAM.DataDir, k.conf.Name)
	if err != nil {
		return nil, fault.Wrap("open the lease store", err)
	}
	defer func() {
		if failed := store.Close(); failed != nil {
			if err == nil {
				_ = k.Del(context.WithoutCancel(ctx), nil, a) // nobody else will
			}
			err = errors.Join(err, failed)
		}
	}()
	req.Owner, req.Sets, req.Want = names.Lessee(a), k.conf.IPAM.Sets, k.Wanted(a)
	leases, err := store.Reserve(req)
	if err != nil {
		return nil, Error(err)
	}
	return k.Result(leases, dns), nil
}

// Del ends the attachment's leases.
func (k *Keys) Del(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	return k.existing(ctx, func(s *ipam.Store) error { return fault.Wrap("release the lease", s.Release(names.Lessee(a))) })
}

// Check finds out whether the attachment holds a lease.
func (k *Keys) Check(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	if e := k.conf.IPAM.SetsErr; e != nil {
		return e
	}
	found := false
	store, err := ipam.OpenReadOnly(ctx, k.conf.IPAM.DataDir, k.conf.Name)
	if err == nil {
		_, found, err = store.Lookup(names.Lessee(a))
		err = errors.Join(err, store.Close())
	}
	if err != nil && !fault.Absent(err) {
		return fault.Wrap("look up the lease", err)
	}
	if !found {
		return fault.Wrong("host-local: Failed to find address added by container " + a.ContainerID)
	}
	return nil
}

// GC ends the leases of whoever isn't valid.
func (k *Keys) GC(ctx context.Context, _ *verbs.Call, valid []spec.Attachment) error {
	if e := k.conf.IPAM.SetsErr; e != nil {
		return e
	}
	keep := map[ipam.Owner]bool{}
	for _, a := range valid {
		keep[names.Lessee(a)] = true
	}
	_, err := k.EndAll(ctx, func(r ipam.Record) bool { return keep[r.Owner] }, func(*ipam.Store) {}, nil)
	return err
}

// EndAll ends all leases but those to keep, and says how many attachments had them. prepare gets
// the store first. ending, if there is one, ends the rest of each attachment before its leases.
func (k *Keys) EndAll(ctx context.Context, keeps func(ipam.Record) bool, prepare func(*ipam.Store), ending func(ipam.Record) error) (ended int, _ error) {
	err := k.existing(ctx, func(s *ipam.Store) error {
		prepare(s)
		dead, err := RecordsExcept(s, keeps)
		for i := 0; ending != nil && err == nil && i < len(dead); i++ {
			err = ending(dead[i])
		}
		if err == nil {
			err = fault.Wrap("release leases", s.ReleaseAll(dead))
		}
		if err == nil {
			ended = len(dead)
		}
		return err
	})
	return ended, err
}

// Reclaim has nothing to do: without evidence nobody is known to be dead.
func (k *Keys) Reclaim(context.Context, *verbs.Call) error {
	if e := k.conf.IPAM.SetsErr; e != nil {
		return e
	}
	return nil
}

// Status says whether the next Add can be expected to succeed, but for full ranges.
func (k *Keys) Status(ctx context.Context, _ *verbs.Call) error {
	if e := k.conf.IPAM.SetsErr; e != nil {
		return e
	}
	if _, err := k.ResolvConf(ctx); err != nil {
		return fault.Unavailable("the network's resolvConf can't be read", err)
	}
	store, err := ipam.OpenReadOnly(ctx, k.conf.IPAM.DataDir, k.conf.Name)
	if err == nil {
		err = store.Close()
	}
	if err == nil || fault.Absent(err) {
		err = fault.Writable(k.conf.IPAM.DataDir)
	}
	if err != nil {
		return fault.Unavailable("the lease store can't be used", err)
	}
	return nil
}

// existing runs fn on the network's store, or not at all where nothing was ever leased.
func (k *Keys) existing(ctx context.Context, fn func(*ipam.Store) error) error {
	store, err := ipam.OpenExisting(ctx, k.conf.IPAM.DataDir, k.conf.Name)
	if fault.Absent(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap("open the lease store", err)
	}
	return errors.Join(fn(store), store.Close())
}

// Wanted joins the requested addresses of the configuration with the attachment's own.
func (k *Keys) Wanted(a spec.Attachment) []netip.Addr {
	var want []netip.Addr
	for _, from := range [][]netip.Addr{k.conf.IPAM.Runtime.Addrs, k.conf.IPAM.Args.Addrs, a.Addrs} {
		for _, addr := range from {
			if addr = addr.Unmap(); !slices.Contains(want, addr) {
				want = append(want, addr)
			}
		}
	}
	return want
}

// Result puts leases into the form of an IPAM plugin's result.
func (k *Keys) Result(leases []ipam.Lease, dns spec.DNS) *spec.Result {
	res := &spec.Result{CNIVersion: k.conf.CNIVersion, Routes: k.conf.IPAM.Routes, DNS: dns}
	for _, l := range leases {
		res.IPs = append(res.IPs, spec.IP{Address: l.Prefix, Gateway: l.Gateway, Interface: spec.NoInterface})
	}
	return res
}

// ResolvConf reads the file that key resolvConf names.
func (k *Keys) ResolvConf(ctx context.Context) (spec.DNS, error) {
	if k.conf.IPAM.ResolvConf == "" {
		return spec.DNS{}, nil
	}
	text, err := os.ReadFile(process.Of(ctx).File(k.conf.IPAM.ResolvConf))
	if err != nil {
		return spec.DNS{}, &spec.Error{Code: spec.CodeInvalidNetwork, Msg: err.Error(), Details: "ipam.resolvConf", Key: "ipam.resolvConf", Err: err}
	}
	d, err := ipam.ParseResolvConf(text)
	return spec.DNS{Nameservers: d.Nameservers, Domain: d.Domain, Search: d.Search, Options: d.Options}, err
}

// Error gives the store's errors their codes.
func Error(err error) error {
	var exhausted *ipam.ExhaustedError
	if errors.As(err, &exhausted) {
		return &spec.Error{Code: spec.CodeExhausted, Msg: err.Error(), Key: "ipam", Err: err}
	}
	var duplicate *ipam.DuplicateError
	if errors.As(err, &duplicate) {
		return &spec.Error{Code: spec.CodeAttached, Msg: err.Error(), Err: err}
	}
	var taken *ipam.TakenError
	if errors.As(err, &taken) {
		return &spec.Error{Code: spec.CodeAttached, Msg: err.Error(), Err: err}
	}
	return &spec.Error{Code: spec.CodeInternal, Msg: err.Error(), Err: err}
}

// RecordsExcept lists the records of leases, but for those to keep.
func RecordsExcept(s *ipam.Store, keeps func(ipam.Record) bool) (list []ipam.Record, err error) {
	for r, err := range s.Records() {
		if err != nil {
			return nil, fault.Wrap("list leases", err)
		}
		if !keeps(r) {
			list = append(list, r)
		}
	}
	return list, nil
}
