// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// rulesOwner is an owner as the ruleset names it.
func (n *Network) rulesOwner(o ipam.Owner) nft.Owner { return names.RulesOwner(n.name, o) }
