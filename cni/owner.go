// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strings"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// rulesOwner is an owner as the ruleset names it.
func (n *Network) rulesOwner(o ipam.Owner) nft.Owner { return names.RulesOwner(n.name, o) }

// rulesOwners are attachments' owners.
func (n *Network) rulesOwners(list []Attachment) []nft.Owner { return names.RulesOwners(n.name, list) }

// OwnerOf says whose host end a link is. It reads that from the link's alias, and believes it only if the link has an
// index that [Attach] derives from that owner; of an owner whose text is longer than 255 bytes nothing is known.
func OwnerOf(l rtnl.Link) (nft.Owner, bool) {
	network, _, _ := strings.Cut(l.Alias, "/")
	o, ok := names.Owner(network, l)
	return nft.Owner{Network: network, ContainerID: o.ContainerID, IfName: o.IfName}, ok
}
