// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A set is one of our sets. All are plain hash tables: one with intervals is copied whole at each
// commit, and the gotos of a verdict map are all validated at each commit that adds one.
type set struct {
	table table
	name  string
	key   keyKind
}

// A keyKind is the type of a set's keys, and of a map's values, as the nft program writes it.
type keyKind string

const (
	address4   keyKind = "ipv4_addr"
	address6   keyKind = "ipv6_addr"
	pair4      keyKind = "ipv4_addr . ipv4_addr" // an address and a network
	pair6      keyKind = "ipv6_addr . ipv6_addr"
	route4     keyKind = "ipv4_addr : ipv4_addr"
	route6     keyKind = "ipv6_addr : ipv6_addr"
	link       keyKind = "ifname"
	linkAndMAC keyKind = "ifname . ether_addr"
	linkPair   keyKind = "ifname . ifname"

	port4 keyKind = "inet_service : ipv4_addr . inet_service"
	port6 keyKind = "inet_service : ipv6_addr . inet_service"
	// the same for an address of the host's
	hostPort4         keyKind = "ipv4_addr . inet_service : ipv4_addr . inet_service"
	hostPort6         keyKind = "ipv6_addr . inet_service : ipv6_addr . inet_service"
	protocolPort      keyKind = "inet_proto . inet_service"
	hostProtocolPort4 keyKind = "ipv4_addr . inet_proto . inet_service"
	hostProtocolPort6 keyKind = "ipv6_addr . inet_proto . inet_service"

	// The parts are a container's address, maybe one of the host's addresses, the protocol, the
	// host's port, and the container's.
	standby4     keyKind = "ipv4_addr . inet_proto . inet_service . inet_service"
	standby6     keyKind = "ipv6_addr . inet_proto . inet_service . inet_service"
	hostStandby4 keyKind = "ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service"
	hostStandby6 keyKind = "ipv6_addr . ipv6_addr . inet_proto . inet_service . inet_service"
)

var (
	// guarded holds the links whose source MACs are guarded. The comment has the MAC too.
	guarded = set{guardTable, "guarded", link}
	// allowed holds link and MAC that may be together.
	allowed = set{guardTable, "allowed", linkAndMAC}
)

// parts returns the types that keys consist of, and those of a map's values.
func (k keyKind) parts() (key, value []string) {
	text, target, isMap := strings.Cut(string(k), " : ")
	if isMap {
		value = strings.Split(target, " . ")
	}
	return strings.Split(text, " . "), value
}

// isMap reports whether keys lead somewhere.
func (k keyKind) isMap() bool { return strings.Contains(string(k), " : ") }

// partLen is the length of a part of a key.
func partLen(part string) int {
	switch part {
	case "ipv4_addr":
		return 4
	case "ipv6_addr":
		return 16
	case "ifname":
		return unix.IFNAMSIZ
	case "ether_addr":
		return macLen
	case "inet_service":
		return 2
	}
	return 1 // inet_proto
}

// len is the length of a key. Each part of a joined key takes whole registers of 4 bytes.
func (k keyKind) len() (n int) {
	parts, _ := k.parts()
	if len(parts) == 1 {
		return partLen(parts[0])
	}
	for _, p := range parts {
		n += align(partLen(p))
	}
	return n
}

// masqueraded returns the set of the masqueraded addresses.
func (f portFamily) masqueraded() set { return role{head: masqName, family: f}.set() }

// outbound returns the map from masqueraded addresses to those that their traffic gets.
func (f portFamily) outbound() set { return role{head: outboundName, family: f}.set() }

// own returns the set of the masqueraded addresses whose subnets have a length. A subnet of one
// address has no other addresses, and so no set.
func (f portFamily) own(bits int) set {
	return role{head: ownName, family: f, arg: strconv.Itoa(bits)}.set()
}

// bits is the length of an address of the family.
func (f portFamily) bits() int { return pick(f, 32, 128) }

// pairKey joins an address and its subnet as a key.
func pairKey(p netip.Prefix) []byte {
	return append(p.Addr().AsSlice(), p.Masked().Addr().AsSlice()...)
}
