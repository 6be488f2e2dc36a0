// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// restoreLost gives live attachments their leases back where the store can't be trusted, as when somebody wiped
// its directory while containers run: their addresses must not be given away. What lives is what the kernel has:
// host ends of this network say whose they are, and their peers which addresses they have.
//
// unclean says that the ruleset still leads to some of the addresses for others.
func (at *attaching) restoreLost(store *ipam.Store) (unclean bool, err error) {
	trusted, err := store.Trusted()
	if trusted || err != nil {
		return false, failed("look at the lease store", err)
	}
	live, err := at.liveRecords()
	if err != nil {
		return false, failed("look for live attachments", err)
	}
	return at.hasStrangers(), failed("restore leases", store.Restore(live))
}

func (at *attaching) liveRecords() (live []ipam.Record, err error) {
	for l, err := range at.conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return nil, err
		}
		owner, ok := ownerOf(at.network.name, l)
		if !ok {
			continue
		}
		r := ipam.Record{Owner: owner, Boot: at.host.boot, NetNS: at.host.netns.Ino, Link: l.Name, Index: l.Index, MAC: l.MAC.String()}
		for a, err := range at.conn.PeerAddrs(l) {
			if errors.Is(err, unix.EINVAL) || absent(err) {
				break // the peer's namespace is dying
			}
			if err != nil {
				return nil, err
			}
			if at.network.ipam.gives(a.Prefix.Addr()) {
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
func (k *ipamKeys) gives(a netip.Addr) bool {
	for _, set := range k.sets {
		if set.Contains(a) {
			return true
		}
	}
	return false
}

// alias is what a host end says of its owner, for people and for restoreLost. Linux takes 255 bytes.
func alias(o nft.Owner) string {
	s := o.Network + "/" + o.ContainerID + "/" + o.IfName
	if len(s) > 255 {
		return ""
	}
	return s
}

// ownerOf reads a host end's alias, and believes it only if the link has the index of that owner's. Its MAC doesn't
// matter: an administrator may have set it.
func ownerOf(network string, l rtnl.Link) (ipam.Owner, bool) {
	parts := strings.Split(l.Alias, "/")
	if len(parts) != 3 || parts[0] != network {
		return ipam.Owner{}, false
	}
	for attempt := range attempts {
		if namesOf(network, parts[1], parts[2], attempt).index == l.Index {
			return ipam.Owner{ContainerID: parts[1], IfName: parts[2]}, true
		}
	}
	return ipam.Owner{}, false
}
