// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strings"
)

// What a subnet's chain is called begins with one of these, behind them stands the subnet.
const (
	chain4 = "masq4-"
	chain6 = "masq6-"
)

// chainName names the chain of a prefix's subnet: masq4-10.1.0.0/24, masq6-fd00-1--/64. The nft program takes
// dots, dashes and slashes in a name, but no colon. Each subnet has one name and each name one subnet, as
// netip writes an address in one way only, and never with a dash.
func chainName(p netip.Prefix) string {
	s := p.Masked().String()
	if p.Addr().Is4() {
		return chain4 + s
	}
	return chain6 + strings.ReplaceAll(s, ":", "-")
}

// parseChainName is the reverse of chainName.
func parseChainName(s string) (netip.Prefix, bool) {
	text, is4 := strings.CutPrefix(s, chain4)
	if !is4 {
		var is6 bool
		if text, is6 = strings.CutPrefix(s, chain6); !is6 {
			return netip.Prefix{}, false
		}
		text = strings.ReplaceAll(text, "-", ":")
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil && p == p.Masked() && chainName(p) == s
}
