// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"strconv"
)

// An IPVLANMode says at which layer the IPVLANs of one parent work (enum ipvlan_mode,
// linux/if_link.h). Zero is the kernel's default, which is [IPVLANL3].
type IPVLANMode uint32

// Modes of an IPVLAN. All IPVLANs of a parent have the same.
const (
	// IPVLANL2 sends and answers ARP and neighbour discovery, and passes multicast.
	IPVLANL2 IPVLANMode = iota + 1
	// IPVLANL3 routes in the parent's namespace, without ARP and multicast.
	IPVLANL3
	// IPVLANL3S is IPVLANL3, and the packets pass the firewall of the parent's namespace.
	IPVLANL3S
)

func (m IPVLANMode) String() string {
	switch m {
	case IPVLANL2:
		return "l2"
	case IPVLANL3:
		return "l3"
	case IPVLANL3S:
		return "l3s"
	}
	return strconv.Itoa(int(m) - 1)
}

// An IPVLAN is a link on another link, its parent, with the parent's MAC. The kernel tells their
// packets apart by addresses. It goes with the parent.
type IPVLAN struct {
	Link
	// Parent is the index of the link below (IFLA_LINK). On Create the conn's namespace is where
	// it's looked up, also if the IPVLAN is born in another. Set and Ensure leave it as it is.
	Parent int
	// Mode is that of all IPVLANs of the parent: setting one sets them all.
	Mode IPVLANMode
}

// ErrNotIPVLAN is the error for a link that isn't an IPVLAN.
var ErrNotIPVLAN = errors.New("rtnl: not an ipvlan")

func (p IPVLAN) kindLink() kindLink {
	return kindLink{Link: p.Link, kind: ipvlan, parent: p.Parent, option: uint64(p.Mode)}
}

// IPVLAN returns the settings of the IPVLAN with a name. The parent's index is that in the parent's
// namespace. The error for a missing link is [io/fs.ErrNotExist], and for a link of another kind
// [ErrNotIPVLAN].
func (c *Conn) IPVLAN(name string) (IPVLAN, error) {
	k, err := c.getKind(name, ipvlan, ErrNotIPVLAN)
	return IPVLAN{Link: k.Link, Parent: k.parent, Mode: IPVLANMode(k.option)}, err
}

func (IPVLAN) write(*words) {} // what a batch prints is a [kindLink]
