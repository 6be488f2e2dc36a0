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

// A role is what a set of the table "inet swiftcni" is for. Its name says all of it: so the rules
// that look into the set follow from the name. With 4 or 6 for the family they are called
//
//	masq4            masqueraded addresses: the comment says the subnet's length too
//	own4-24          those of subnets of a length, each with its subnet: what goes there isn't masqueraded
//	tcp4, udp4, …    the host's port, to container address and port
//	hosttcp4, …      the same for one address of the host's
//	snat4            protocols and ports whose packets are marked, as they're masqueraded where they come back
//	hostsnat4        the same for one address of the host's
//	published4       container addresses that have mappings: the comment says the subnet's length, how many, and what is masqueraded
//	hairpin4-24      those of subnets of a length, each with its subnet: what comes from there by their mappings is masqueraded
//	masqall4         those whose mapped traffic is masqueraded wherever it's from
//	standby4, …      mappings of an attachment whose ports another attachment of the container has
//
// Sets of ports end in "-" and a hash where conditions narrow the mappings, and those of
// masquerading mappings in "." and a number where the mark's bit isn't the usual one.
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
	snatName        = "snat"
	hostSNATName    = "hostsnat"
	publishedName   = "published"
	hairpinName     = "hairpin"
	masqAllName     = "masqall"
	standbyName     = "standby"
	hostStandbyName = "hoststandby"
	hostName        = "host" // and a protocol's
)

// MasqueradeMark is the bit of a packet's mark that says, from the host's port on to the end of its
// way through the host, that it may be masqueraded: the reference's portmap has the same.
const MasqueradeMark = 0x2000

const usualBit = 13 // of MasqueradeMark

func bitOf(mark uint32) int { return bits.TrailingZeros32(mark) }

// key returns what is in the role's set; ok is false for what is no role's head.
func (r role) key() (k keyKind, ok bool) {
	switch r.head {
	case masqName, publishedName, masqAllName:
		return pick(r.family, address4, address6), true
	case ownName, hairpinName:
		return pick(r.family, pair4, pair6), true
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

// hasLength, hasHash and hasBit say what may stand behind the family.
func (r role) hasLength() bool { return r.head == ownName || r.head == hairpinName }
func (r role) hasHash() bool {
	return r.head != masqName && r.head != publishedName && r.head != masqAllName && !r.hasLength()
}
func (r role) hasBit() bool {
	return r.head == snatName || r.head == hostSNATName || r.head == hairpinName || r.head == masqAllName
}

// unit is the role that stands for those whose sets are made together.
func (r role) unit() role {
	if k, ok := r.key(); ok && k.isMap() {
		r.head = TCP.String()
	}
	if r.head == hostSNATName {
		r.head = snatName
	}
	return r
}

// length is the length of the subnets of a role that has one.
func (r role) length() int {
	n, _ := strconv.Atoi(r.arg)
	return n
}

func (r role) set() set {
	name := r.family.name(r.head)
	if r.arg != "" {
		name += "-" + r.arg
	}
	if r.hasBit() && r.bit != usualBit {
		name += "." + strconv.Itoa(r.bit)
	}
	k, _ := r.key()
	return set{masqueradeTable, name, k}
}

// roleOf is the reverse of set: ok is false for a name that no role has.
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
	return r, ok && r.set().name == name
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
