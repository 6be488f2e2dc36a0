// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Ruleset is the part of the host's ruleset that doesn't depend on who is attached. [Conn.Attach] builds it
// when it's missing.
type Ruleset struct {
	Subnets []netip.Prefix // what to masquerade; host bits don't matter
	Guard   bool           // whether MACs are guarded
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

// A chain is a base chain of the ruleset, whose policy is to accept, with its one rule.
type chain struct {
	table table
	name  string
	hook  hook
	rule  rule
}

type hook struct {
	kind, name, priorityName string
	number                   uint32
	priority                 int32
}

// A rule is one of the two that there are.
type rule struct {
	subnet netip.Prefix // masquerade what leaves it; the zero prefix: drop spoofed frames
}

const prerouting = "prerouting"

func (r Ruleset) tables() []table {
	var ts []table
	if len(r.Subnets) > 0 {
		ts = append(ts, masqueradeTable)
	}
	if r.Guard {
		ts = append(ts, guardTable)
	}
	return ts
}

func (r Ruleset) sets(t table) []set {
	if t == guardTable {
		return []set{guarded, allowed}
	}
	var ss []set
	for _, p := range r.subnets() {
		ss = append(ss, masqueradeSet(p))
	}
	return ss
}

// chains returns a table's chains, each with its rule. Each subnet has a base chain of its own, so that who builds
// one needn't know the others; only a connection's first packet visits them.
func (r Ruleset) chains(t table) []chain {
	if t == guardTable {
		// NF_BR_PRE_ROUTING and NF_BR_PRI_NAT_DST_BRIDGED (linux/netfilter_bridge.h): the nft program calls that priority dstnat.
		return []chain{{t, prerouting, hook{"filter", prerouting, "dstnat", 0, -300}, rule{}}}
	}
	var cs []chain
	for _, p := range r.subnets() {
		// NF_IP_PRI_NAT_SRC (linux/netfilter_ipv4.h), which inet shares.
		cs = append(cs, chain{t, masqueradeSet(p).name, hook{"nat", "postrouting", "srcnat", unix.NF_INET_POST_ROUTING, 100}, rule{p}})
	}
	return cs
}

// subnets returns the subnets masked, sorted, each once.
func (r Ruleset) subnets() []netip.Prefix {
	var ps []netip.Prefix
	for _, p := range r.Subnets {
		ps = append(ps, p.Masked())
	}
	slices.SortFunc(ps, netip.Prefix.Compare)
	return slices.Compact(ps)
}

// multicast returns the multicast addresses of a prefix's family (RFC 5771, RFC 4291 section 2.7).
func multicast(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4() {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4)
	}
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8)
}
