// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// A set is one of our sets. All are plain hash tables: one with intervals is copied whole at each commit, and the
// gotos of a verdict map are all validated at each commit that adds one.
type set struct {
	table table
	name  string
	key   keyKind
}

type keyKind int

const (
	address4 keyKind = iota
	address6
	link
	linkAndMAC
	port4     // to an IPv4 address and port
	port6     // to an IPv6 address and port
	hostPort4 // the same with the host's address before the port
	hostPort6
	linkPair // two links' names
)

var (
	// guarded holds the links whose source MACs are guarded; the comment has the MAC too.
	guarded = set{guardTable, "guarded", link}
	// allowed holds link and MAC that may be together.
	allowed = set{guardTable, "allowed", linkAndMAC}
)

// len is the length of a key. Each part of a joined key takes whole registers of 4 bytes.
func (k keyKind) len() int {
	return [...]int{4, 16, unix.IFNAMSIZ, unix.IFNAMSIZ + 8, 8, 8, 12, 24, 2 * unix.IFNAMSIZ}[k]
}

// String is what the nft program calls the type.
func (k keyKind) String() string {
	return [...]string{"ipv4_addr", "ipv6_addr", "ifname", "ifname . ether_addr", portKey + " : ipv4_addr . inet_service", portKey + " : ipv6_addr . inet_service",
		"ipv4_addr . " + portKey + " : ipv4_addr . inet_service", "ipv6_addr . " + portKey + " : ipv6_addr . inet_service", "ifname . ifname"}[k]
}

// What a subnet's set and chain are called begins with one of these; behind it stands the subnet.
const (
	masq4 = "masq4-"
	masq6 = "masq6-"
)

// masqueradeSet returns the set of the masqueraded addresses of a prefix's subnet. Set and chain are called
// masq4-10.1.0.0/24, masq6-fd00-1--/64: the nft program takes dots, dashes and slashes in a name, but no colon.
// Each subnet has one name and each name one subnet, as netip writes an address in one way only and
// never with a dash.
func masqueradeSet(p netip.Prefix) set {
	s := p.Masked().String()
	if p.Addr().Is4() {
		return set{masqueradeTable, masq4 + s, address4}
	}
	return set{masqueradeTable, masq6 + strings.ReplaceAll(s, ":", "-"), address6}
}

// subnet is the reverse of masqueradeSet.
func subnet(name string) (netip.Prefix, bool) {
	text, is4 := strings.CutPrefix(name, masq4)
	if !is4 {
		var is6 bool
		if text, is6 = strings.CutPrefix(name, masq6); !is6 {
			return netip.Prefix{}, false
		}
		text = strings.ReplaceAll(text, "-", ":")
	}
	p, err := netip.ParsePrefix(text)
	return p, err == nil && p == p.Masked() && masqueradeSet(p).name == name
}
