// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
)

// maxVLAN is the highest ID of a VLAN. 4095 is reserved (IEEE 802.1Q).
const maxVLAN = 4094

// A VLAN is a link that carries the frames of its parent with one tag (IEEE 802.1Q). It goes with
// the parent. Set changes its Link alone.
type VLAN struct {
	Link
	// Parent is the index of the link below (IFLA_LINK). On Create the conn's namespace is where
	// it's looked up, also if the VLAN is born in another. Ensure leaves it as it is.
	Parent int
	// ID is the tag, from 0 to 4094. A parent has one VLAN of an ID, and a second is refused with
	// EEXIST. Ensure leaves the ID as it is.
	ID int
}

// ErrNotVLAN is the error for a link that isn't a VLAN.
var ErrNotVLAN = errors.New("rtnl: not a vlan")

func (n VLAN) kindLink() kindLink {
	return kindLink{Link: n.Link, kind: vlan, parent: n.Parent, option: uint64(n.ID) + 1}
}

// VLAN returns the settings of the VLAN with a name. The parent's index is that in the parent's
// namespace. The error for a missing link is [io/fs.ErrNotExist], and for a link of another kind
// [ErrNotVLAN].
func (c *Conn) VLAN(name string) (VLAN, error) {
	k, err := c.getKind(name, vlan, ErrNotVLAN)
	return VLAN{Link: k.Link, Parent: k.parent, ID: int(max(k.option, 1) - 1)}, err
}

func (VLAN) write(*words) {} // what a batch prints is a [kindLink]
