// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/order"
)

// A role is the purpose of a set of the table "inet swiftcni". Its name tells everything, so the
// rules that look into the set follow from the name. With 4 or 6 for the family the names are
//
//	masq4            masqueraded addresses; the comment has the subnet's length too
//	own4-24          those of subnets of a length, each with its subnet, to which nothing
//	                 is masqueraded
//	outbound4        masqueraded addresses, to the address that their traffic gets
//	tcp4, udp4, …    the host's port, to container address and port
//	hosttcp4, …      the same for one address of the host's
//	snat4            protocols and ports whose packets are marked, since they are
//	                 masqueraded when they come back
//	hostsnat4        the same for one address of the host's
//	published4       container addresses that have mappings; the comment has the subnet's
//	                 length, how many, and the masqueraded part
//	hairpin4-24      those of subnets of a length, each with its subnet, from which traffic
//	                 by their mappings is masqueraded
//	masqall4         those whose mapped traffic is masqueraded wherever it's from
//	standby4, …      mappings of an attachment whose ports another attachment of the
//	                 container has
//
// If conditions narrow the mappings, names of sets of ports end in "-" and a hash. If the mark's
// bit isn't the usual one, names of sets of masquerading mappings end in "." and a number.
type role struct {
	head   string
	family portFamily
	arg    string // a length, or a hash
	bit    int    // of the mark; 0 for a role that has none
}

// Heads of roles.
const (
	masqName        = "masq"
	ownName         = "own"
	outboundName    = "outbound"
	snatName        = "snat"
	hostSNATName    = "hostsnat"
	publishedName   = "published"
	hairpinName     = "hairpin"
	masqAllName     = "masqall"
	standbyName     = "standby"
	hostStandbyName = "hoststandby"
	hostName        = "host" // and a protocol's
)

// MasqueradeMark is the bit of a packet's mark that says that the packet may be masqueraded, from
// the host's port on. A packet that isn't loses it before others' source NAT. The reference's
// portmap has the same bit.
const MasqueradeMark = 0x2000

const usualBit = 13 // of MasqueradeMark

func bitOf(mark uint32) int { return bits.TrailingZeros32(mark) }

// key returns the kind of the role's keys. ok is false if the head isn't a role's.
func (r role) key() (k keyKind, ok bool) {
	switch r.head {
	case masqName, publishedName, masqAllName:
		return pick(r.family, address4, address6), true
	case ownName, hairpinName:
		return pick(r.family, pair4, pair6), true
	case outboundName:
		return pick(r.family, route4, route6), true
	case snatName:
		return protocolPort, true
	case hostSNATName:
		return pick(r.family, hostProtocolPort4, hostProtocolPort6), true
	case standbyName:
		return pick(r.family, standby4, standby6), true
	case hostStandbyName:
		return pick(r.family, hostStandby4, hostStandby6), true
	}
	if _, ok := protocolOf(r.head); ok {
		return pick(r.family, port4, port6), true
	}
	_, ok = protocolOf(strings.TrimPrefix(r.head, hostName))
	return pick(r.family, hostPort4, hostPort6), ok
}

// hasLength, hasHash and hasBit say what may follow the family.
func (r role) hasLength() bool { return r.head == ownName || r.head == hairpinName }
func (r role) hasHash() bool {
	return r.head != masqName && r.head != outboundName && r.head != publishedName && r.head != masqAllName && !r.hasLength()
}
func (r role) hasBit() bool {
	return r.head == snatName || r.head == hostSNATName || r.head == hairpinName || r.head == masqAllName
}

// unit is the role that stands for those whose sets are removed together.
func (r role) unit() role {
	if k, ok := r.key(); ok && k.isMap() && r.isPortSet() {
		r.head = TCP.String()
	}
	switch r.head {
	case hostSNATName:
		r.head = snatName
	case hostStandbyName:
		r.head = standbyName
	}
	return r
}

// length is the length of the subnets of a role that has one.
func (r role) length() int {
	if r.arg == "" {
		return 0
	}
	n, _ := strconv.Atoi(r.arg)
	return n
}

func (r role) set() set {
	var buffer [64]byte
	k, _ := r.key()
	return set{masqueradeTable, string(r.appendName(buffer[:0])), k}
}

// appendName appends the name of the role's set.
func (r role) appendName(b []byte) []byte {
	b = append(append(b, r.head...), byte(r.family))
	if r.arg != "" {
		b = append(append(b, '-'), r.arg...)
	}
	if r.hasBit() && r.bit != usualBit {
		b = strconv.AppendInt(append(b, '.'), int64(r.bit), 10)
	}
	return b
}

// roleOf is the reverse of set. ok is false for a name that no role has.
func roleOf(name string) (r role, ok bool) {
	i := strings.IndexAny(name, "46")
	if i < 0 {
		return r, false
	}
	r = role{head: name[:i], family: portFamily(name[i])}
	if _, ok := r.key(); !ok {
		return r, false
	}
	rest, bit, hasBit := strings.Cut(name[i+1:], ".")
	r.arg = strings.TrimPrefix(rest, "-")
	if r.hasBit() {
		r.bit = usualBit
		if hasBit {
			r.bit, _ = strconv.Atoi(bit)
		}
	}
	switch n := r.length(); {
	case r.bit < 0 || r.bit > 31:
		return r, false
	case r.hasLength():
		ok = n > 0 && n <= r.family.bits()
	default:
		ok = r.arg == "" || r.hasHash() && !strings.ContainsAny(r.arg, "/-")
	}
	var buffer [64]byte
	return r, ok && string(r.appendName(buffer[:0])) == name
}

// role returns a set's role.
func (s set) role() role {
	r, _ := roleOf(s.name)
	return r
}

// rolesOf returns the roles of sets that have one of some heads: by family, and in the order of the
// heads.
func rolesOf(sets []set, heads ...string) (roles []role) {
	for _, s := range sets {
		if r := s.role(); slices.Contains(heads, r.head) {
			roles = append(roles, r)
		}
	}
	order.By(roles, func(a, b role) int {
		return cmp.Or(cmp.Compare(a.family, b.family), cmp.Compare(slices.Index(heads, a.head), slices.Index(heads, b.head)),
			cmp.Compare(a.length(), b.length()), cmp.Compare(a.arg, b.arg), cmp.Compare(a.bit, b.bit))
	})
	return roles
}
