// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strconv"
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
	pair4 // an address and a network
	pair6
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
	return [...]int{4, 16, 8, 32, unix.IFNAMSIZ, unix.IFNAMSIZ + 8, 8, 8, 12, 24, 2 * unix.IFNAMSIZ}[k]
}

// String is what the nft program calls the type.
func (k keyKind) String() string {
	return [...]string{"ipv4_addr", "ipv6_addr", "ipv4_addr . ipv4_addr", "ipv6_addr . ipv6_addr", "ifname", "ifname . ether_addr",
		portKey + " : ipv4_addr . inet_service", portKey + " : ipv6_addr . inet_service",
		"ipv4_addr . " + portKey + " : ipv4_addr . inet_service", "ipv6_addr . " + portKey + " : ipv6_addr . inet_service", "ifname . ifname"}[k]
}

// Names of the sets of masquerade begin with these; behind it stands the family's digit.
const (
	masqName = "masq"
	ownName  = "own"
)

// masqueraded returns the set of the masqueraded addresses: the comment says the subnet's length too.
func (f portFamily) masqueraded() set {
	return set{masqueradeTable, f.name(masqName), pick(f, address4, address6)}
}

// own returns the set of the masqueraded addresses whose subnets have a length, each with its subnet: what goes there isn't
// masqueraded. A subnet of one address has no other, and so no set.
func (f portFamily) own(bits int) set {
	return set{masqueradeTable, f.name(ownName) + "-" + strconv.Itoa(bits), pick(f, pair4, pair6)}
}

// bits is the length of an address of the family.
func (f portFamily) bits() int { return pick(f, 32, 128) }

// masqueradeSet returns the set of masquerade that has a name, if it's one; bits is the subnets' length of an own set.
func masqueradeSet(name string) (s set, bits int, ok bool) {
	for _, f := range [...]portFamily{family4, family6} {
		if name == f.name(masqName) {
			return f.masqueraded(), 0, true
		}
		text, ok := strings.CutPrefix(name, f.name(ownName)+"-")
		bits, err := strconv.Atoi(text)
		if ok && err == nil && bits > 0 && bits < f.bits() && f.own(bits).name == name {
			return f.own(bits), bits, true
		}
	}
	return set{}, 0, false
}

// pairKey joins an address and its subnet as a key.
func pairKey(p netip.Prefix) []byte {
	return append(p.Addr().AsSlice(), p.Masked().Addr().AsSlice()...)
}
