// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// A Ruleset is the part of the host's ruleset that doesn't depend on the containers. [Conn.Attach]
// builds it when it's missing.
type Ruleset struct {
	Subnets  []netip.Prefix // to be masqueraded; host bits don't matter
	Outbound [2]bool        // whether some of their traffic gets chosen addresses, by IPv4 and by IPv6
	Guard    bool           // whether MACs are guarded
}

// A table is a table of the ruleset: a family (unix.NFPROTO_INET, …) and a name.
type table struct {
	family byte
	name   string
}

var (
	masqueradeTable = table{unix.NFPROTO_INET, "swiftcni"}
	guardTable      = table{unix.NFPROTO_BRIDGE, "swiftcni"}
)

func (t table) String() string { return familyName(t.family) + " " + t.name }

func familyName(family byte) string {
	switch family {
	case unix.NFPROTO_INET:
		return "inet"
	case unix.NFPROTO_BRIDGE:
		return "bridge"
	case unix.NFPROTO_IPV4:
		return "ip"
	case unix.NFPROTO_IPV6:
		return "ip6"
	}
	return "family " + strconv.Itoa(int(family))
}

// A chain is a chain of the ruleset with its rules. With a hook it's a base chain, whose policy is
// to accept.
type chain struct {
	table table
	name  string
	hook  hook
	rules []portRule
}

type hook struct {
	kind, name, priorityName string
	number                   uint32
	priority                 int32
}

const (
	prerouting  = "prerouting"
	postrouting = "postrouting"
)

// guardChain drops spoofed frames.
func guardChain() chain {
	// NF_BR_PRE_ROUTING and NF_BR_PRI_NAT_DST_BRIDGED (linux/netfilter_bridge.h): the nft program
	// calls that priority dstnat.
	return chain{guardTable, prerouting, hook{"filter", prerouting, "dstnat", 0, -300}, []portRule{guardRule()}}
}

// needs returns the sets that the ruleset needs, each once.
func (r Ruleset) needs() need {
	sets := masqueradeSets(r.Subnets)
	for i, f := range [...]portFamily{family4, family6} {
		if r.Outbound[i] {
			sets = append(sets, f.outbound())
		}
	}
	return need{sets: orderedSets(sets), guard: r.Guard}
}

// needOf returns the sets and rules that the elements of senders are for.
func needOf(es []element) (n need) {
	for i := range es {
		if s := &es[i].set; s.table.family == guardTable.family {
			n.guard = true
		} else {
			n.sets = append(n.sets, *s)
		}
	}
	n.sets = orderedSets(n.sets)
	return n
}

// orderedSets sorts sets by their names, each once.
func orderedSets(sets []set) []set {
	order.By(sets, func(a, b set) int { return cmp.Or(cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name)) })
	return slices.Compact(sets)
}
