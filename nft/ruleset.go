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
	}
	return "family " + strconv.Itoa(int(family))
}

// A set is one of our sets or verdict maps. All are plain hash tables: a set of intervals is copied whole at
// each commit.
type set int

const (
	masq4   set = iota // verdict map: address → chain of its subnet
	masq6              // the same for IPv6
	guarded            // links whose source MACs are guarded; the comment holds the MAC too
	allowed            // link and MAC that may be together
	sets               // how many there are
)

func (s set) String() string { return [...]string{"masq4", "masq6", "guarded", "allowed"}[s] }

func (s set) table() table {
	if s == guarded || s == allowed {
		return guardTable
	}
	return masqueradeTable
}

func masqueradeSet(a netip.Addr) set {
	if a.Is4() {
		return masq4
	}
	return masq6
}

// A chain is a chain of the ruleset with its rules. A hook makes it a base chain, whose policy is to accept.
type chain struct {
	table table
	name  string
	hook  *hook
	rules []rule
}

type hook struct {
	kind, name, priorityName string
	number                   uint32
	priority                 int32
}

// A rule is one of the few rules that there are.
type rule struct {
	kind   ruleKind
	prefix netip.Prefix // of returnTo
}

type ruleKind int

const (
	vmap4       ruleKind = iota // ip saddr vmap @masq4
	vmap6                       // ip6 saddr vmap @masq6
	returnTo                    // ip daddr PREFIX return
	masquerade                  // masquerade
	dropSpoofed                 // iifname @guarded iifname . ether saddr != @allowed drop
)

const (
	postrouting = "postrouting"
	prerouting  = "prerouting"
)

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

// chains returns a table's chains: the base chain, then the subnets' in their order, each once.
func (r Ruleset) chains(t table) []chain {
	if t == guardTable {
		// NF_BR_PRE_ROUTING and NF_BR_PRI_NAT_DST_BRIDGED (linux/netfilter_bridge.h): the nft program calls that priority dstnat.
		return []chain{{t, prerouting, &hook{"filter", prerouting, "dstnat", 0, -300}, []rule{{kind: dropSpoofed}}}}
	}
	// NF_IP_PRI_NAT_SRC (linux/netfilter_ipv4.h), which inet shares.
	cs := []chain{{t, postrouting, &hook{"nat", postrouting, "srcnat", unix.NF_INET_POST_ROUTING, 100}, []rule{{kind: vmap4}, {kind: vmap6}}}}
	for _, p := range r.subnets() {
		cs = append(cs, chain{t, chainName(p), nil, []rule{{returnTo, p}, {returnTo, multicast(p)}, {kind: masquerade}}})
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
