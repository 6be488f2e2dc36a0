// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A portRuleset is the sets and rules of port mappings, which don't depend on who has how many.
type portRuleset struct{ families []portRules }

// portRules is what one family's mappings of a subnet's containers, under some conditions, need.
type portRules struct {
	family     portFamily
	subnet     netip.Prefix
	suffix     string
	conditions []Condition
}

// A portChain is a base chain, whose policy is to accept, with its rules. All are of the table of masquerade.
type portChain struct {
	name  string
	hook  hook
	rules []portRule
}

// A portRule is a rule as expressions and as the nft program prints it.
type portRule struct {
	text  string
	exprs []expr.Any
}

func (r portRules) sets() []set {
	f := r.family
	return []set{f.ports(r.suffix, false), f.ports(r.suffix, true), f.published(), f.masqAll(), f.hairpin(r.subnet)}
}

// chains returns the base chains: who builds one needn't know the others. Only a connection's first packet visits
// those of kind nat.
func (r portRules) chains() []portChain {
	f := r.family
	// NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC and NF_IP_PRI_RAW (linux/netfilter_ipv4.h), which inet shares.
	dst := hook{kind: "nat", priorityName: "dstnat", priority: -100}
	if r.suffix != "" {
		dst.priorityName, dst.priority = "dstnat - 1", -101
	}
	pre, out := dst, dst
	pre.name, pre.number = prerouting, unix.NF_INET_PRE_ROUTING
	out.name, out.number = "output", unix.NF_INET_LOCAL_OUT
	if r.suffix == "" {
		out.priorityName = "-100" // nft has names of priorities for the hooks where they're usual
	} else {
		out.priorityName = "-101"
	}
	src := hook{"nat", "postrouting", "srcnat", unix.NF_INET_POST_ROUTING, 100}
	cs := []portChain{
		{prerouting + "-" + f.name(portsName) + r.suffix, pre, r.mapping()},
		{"output-" + f.name(portsName) + r.suffix, out, r.mapping()},
		{f.masqAll().name, src, []portRule{f.masquerade(nil, f.masqAll())}},
		{f.hairpin(r.subnet).name, src, r.hairpins()},
	}
	if f == family4 {
		raw := hook{"filter", prerouting, "raw", unix.NF_INET_PRE_ROUTING, -300}
		cs = append(cs, portChain{"localnet4", raw, []portRule{localnet()}})
	}
	return cs
}

// mapping returns the rules that send packets for the host's own addresses to containers.
func (r portRules) mapping() (rules []portRule) {
	for _, host := range []bool{true, false} {
		for _, cs := range alternatives(r.conditions) {
			one := r
			one.conditions = cs
			rules = append(rules, one.dnat(host))
		}
	}
	return rules
}

// dnat returns the rule for mappings to one of the host's addresses, or to any.
func (r portRules) dnat(host bool) portRule {
	f := r.family
	family := pick(f, "ip", "ip6")
	key := portKeyText
	if host {
		key = family + " daddr . " + key
	}
	s := f.ports(r.suffix, host)
	var es []expr.Any
	var words []string
	// The nft program checks the family right before it first looks into the header, and doesn't print it then.
	checked := false
	check := func() {
		if !checked {
			es, checked = append(es, f.only()...), true
		}
	}
	if !host && !slices.ContainsFunc(r.conditions, Condition.ofAddress) {
		check()
		words = append(words, f.onlyText())
	}
	for _, c := range r.conditions {
		if c.ofAddress() {
			check()
		}
		es = append(es, c.exprs()...)
		words = append(words, c.String())
	}
	es = append(es,
		&expr.Fib{Register: unix.NFT_REG_1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)})
	// The key's parts stand in registers of 4 bytes, one behind the other.
	at := uint32(0)
	if host {
		check()
		n := uint32(pick(f, 4, 16))
		es = append(es, network(uint32(pick(f, 16, 24)), n))
		at = n / 4
	}
	es = append(es,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(at)},
		&expr.Payload{DestRegister: register(at + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, IsDestRegSet: true, SetName: s.name},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(pick(f, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6)),
			RegAddrMin: unix.NFT_REG_1, RegProtoMin: register(uint32(pick(f, 1, 4)))})
	words = append(words, "fib daddr type local dnat "+family+" to "+key+" map @"+s.name)
	return portRule{strings.Join(words, " "), es}
}

// portKeyText is the expression of a protocol and a port.
const portKeyText = "meta l4proto . th dport"

// register returns the 4 bytes n of the registers, by the name that the kernel prints: a whole one's where one begins.
func register(n uint32) uint32 {
	if n%4 == 0 {
		return unix.NFT_REG_1 + n/4
	}
	return unix.NFT_REG32_00 + n
}

// only matches packets of the family.
func (f portFamily) only() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{pick[byte](f, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6)}},
	}
}

func (f portFamily) onlyText() string { return pick(f, "meta nfproto ipv4", "meta nfproto ipv6") }

// hairpins returns the rules for connections that come back into the subnet, where the answer wouldn't pass the host,
// and for those from 127.0.0.1, where it wouldn't leave the container. IPv6 has no route_localnet.
func (r portRules) hairpins() []portRule {
	f := r.family
	s := f.hairpin(r.subnet)
	rules := []portRule{f.masquerade(&r.subnet, s)}
	if f == family4 {
		loopback := netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)
		rules = append(rules, f.masquerade(&loopback, s))
	}
	return rules
}

// ctDNAT is IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const ctDNAT = 1 << 5

// masquerade masquerades what a mapping sent to an address of a set, maybe from a prefix only.
func (f portFamily) masquerade(from *netip.Prefix, s set) portRule {
	family := pick(f, "ip", "ip6")
	es := []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: unix.NFT_REG_1},
		&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(ctDNAT), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: make([]byte, 4)},
	}
	text := "ct status dnat"
	es = append(es, f.only()...)
	if from != nil {
		c := Condition{Field: Source, Prefix: *from}
		es = append(es, c.exprs()...)
		text += " " + c.String()
	}
	es = append(es, network(uint32(pick(f, 16, 24)), uint32(s.key.len())),
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name}, &expr.Masq{})
	return portRule{text + " " + family + " daddr @" + s.name + " masquerade", es}
}

// localnet drops what claims on a wire to be for the host's loopback: with route_localnet, which 127.0.0.1 needs, the
// kernel would let a link's neighbours at what listens on the host's loopback alone (as in CVE-2020-8558).
func localnet() portRule {
	es := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: unix.NFT_REG_1},
		// LOOPBACK_IFINDEX (net/flow.h) is 1 in every namespace.
		&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: binaryutil.NativeEndian.PutUint32(1)},
	}
	es = append(es, family4.only()...)
	es = append(es, compare(16, expr.CmpOpEq, netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8))...)
	return portRule{`iif != "lo" ip daddr 127.0.0.0/8 drop`, append(es, &expr.Verdict{Kind: expr.VerdictDrop})}
}

// buildPorts adds what the rules consist of and isn't there, as build does.
func (b *batch) buildPorts(r portRuleset) {
	done := map[string]bool{}
	for i, x := range r.families {
		if i == 0 {
			b.lib().AddTable(masqueradeTable.object())
		}
		for _, s := range x.sets() {
			b.set(s)
		}
		for _, c := range x.chains() {
			if !done[c.name] {
				b.portChain(c)
				done[c.name] = true
			}
		}
	}
}

func (c portChain) chain() chain { return chain{masqueradeTable, c.name, c.hook, c.rules} }

func (b *batch) portChain(c portChain) { b.chain(c.chain()) }

// String prints the ruleset as the nft program does when nothing is published.
func (r portRuleset) String() string {
	var sets []set
	var chains []chain
	for _, x := range r.families {
		sets = append(sets, x.sets()...)
		for _, c := range x.chains() {
			chains = append(chains, c.chain())
		}
	}
	return printTable(masqueradeTable, sets, chains)
}
