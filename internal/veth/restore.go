// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// restoreLost gives live attachments their leases back where the store can't be trusted, as when
// somebody wiped its directory while containers run: their addresses must not be given away. What
// lives is what the kernel has: host ends of this network say whose they are, and their peers which
// addresses they have.
//
// unclean says that the ruleset still leads to some of the addresses for others.
func (at *attaching) restoreLost(store *ipam.Store) (unclean bool, err error) {
	trusted, err := store.Trusted()
	if trusted || err != nil {
		return false, fault.Wrap("look at the lease store", err)
	}
	live, err := at.liveRecords()
	if err != nil {
		return false, fault.Wrap("look for live attachments", err)
	}
	return at.hasStrangers(), fault.Wrap("restore leases", store.Restore(live))
}

func (at *attaching) liveRecords() (live []ipam.Record, err error) {
	for l, err := range at.conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return nil, err
		}
		owner, ok := names.Owner(at.keys.conf.Name, l.Link)
		if !ok {
			continue
		}
		r := ipam.Record{Owner: owner, Boot: at.host.Boot, NetNS: at.host.NetNS.Ino, Link: l.Name, Index: l.Index, MAC: l.MAC}
		for a, err := range at.conn.PeerAddrs(l) {
			if errors.Is(err, unix.EINVAL) || fault.Absent(err) {
				break // the peer's namespace is dying
			}
			if err != nil {
				return nil, err
			}
			if gives(at.keys.conf.IPAM.Sets, a.Prefix.Addr()) {
				r.Addrs = append(r.Addrs, a.Prefix.Addr())
				r.Prefixes = append(r.Prefixes, a.Prefix)
			}
		}
		if r.Addrs != nil {
			live = append(live, r)
		}
	}
	return live, nil
}

// gives reports whether an address is one that the configuration's ranges give.
func gives(sets []ipam.RangeSet, a netip.Addr) bool {
	for _, set := range sets {
		if set.Contains(a) {
			return true
		}
	}
	return false
}
