// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"strings"

	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// OwnerOf says whose host end a link is. It reads that from the link's alias, and believes it only if the link has the
// index and the MAC that [Attach] derives from that owner; of an owner whose text is longer than 255 bytes nothing is known.
func OwnerOf(l rtnl.Link) (nft.Owner, bool) {
	network, _, _ := strings.Cut(l.Alias, "/")
	o, ok := ownerOf(network, l)
	return nft.Owner{Network: network, ContainerID: o.ContainerID, IfName: o.IfName}, ok
}
