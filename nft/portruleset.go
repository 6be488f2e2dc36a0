// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A portChain is a base chain, whose policy is to accept, with its rules. All are of the table of
// masquerade.
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

func (c portChain) chain() chain { return chain{masqueradeTable, c.name, c.hook, c.rules} }

func (b *batch) portChain(c portChain) { b.chain(c.chain()) }

// Chains of port mappings. The mappings of a group under conditions have two more: one whose rule
// asks the conditions, and one that it jumps to.
const (
	portsChain    = "ports"
	preroutePorts = "prerouting-ports"
	outputPorts   = "output-ports"
	masqPorts     = "masquerade-ports"
	localnetChain = "localnet4"
	whenChain     = "when"
)

// chainName is the name of a group's own chain.
func (g portGroup) chainName(s string) string { return g.family.name(s) + "-" + g.hash }

// portChains returns the chains that follow from the sets that exist. Those of conditions come
// first, as another leads to them. Only a connection's first packet visits those of kind nat, and
// only one for an address of the host goes beyond the first rule.
func portChains(sets []set) (cs []chain) {
	groups := groupsOf(sets)
	if len(groups) == 0 {
		return nil
	}
	all := portChain{name: portsChain}
	for _, g := range groups {
		if g.hash != "" {
			cs = append(cs, portChain{name: g.chainName(portsChain), rules: g.rules(sets)}.chain())
			all.rules = append(all.rules, jump("", nil, g.chainName(whenChain)))
		}
	}
	for _, g := range groups {
		if g.hash == "" {
			all.rules = append(all.rules, g.rules(sets)...)
		}
	}
	// NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC and NF_IP_PRI_RAW (linux/netfilter_ipv4.h), which inet
	// shares. The nft program has names of priorities for the hooks at which they are usual. Source
	// NAT comes before everybody else's: see unmarkRules.
	local := jump("fib daddr type local ", []expr.Any{
		&expr.Fib{Register: unix.NFT_REG_1, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: native(unix.RTN_LOCAL)}}, portsChain)
	return append(cs, all.chain(),
		chain{masqueradeTable, preroutePorts, hook{"nat", prerouting, "dstnat", unix.NF_INET_PRE_ROUTING, -100}, []portRule{local}},
		chain{masqueradeTable, outputPorts, hook{"nat", "output", "-100", unix.NF_INET_LOCAL_OUT, -100}, []portRule{local}},
		chain{masqueradeTable, masqPorts, hook{"nat", postrouting, "srcnat - 1", unix.NF_INET_POST_ROUTING, 99}, append(masqueradeRules(sets), unmarkRules(sets)...)},
		chain{masqueradeTable, localnetChain, hook{"filter", prerouting, "raw", unix.NF_INET_PRE_ROUTING, -300}, []portRule{localnet()}})
}

// condition returns the chain that leads to a group's chain if the packet matches all conditions.
// It has a rule for each combination.
func (g portGroup) condition(cs []Condition) chain {
	c := portChain{name: g.chainName(whenChain)}
	for _, one := range alternatives(cs) {
		c.rules = append(c.rules, g.conditionRule(one))
	}
	return c.chain()
}

func (g portGroup) conditionRule(cs []Condition) portRule {
	var es []expr.Any
	text, checked := "", false
	for _, c := range cs {
		// The nft program checks the family right before it first looks into the header, and
		// doesn't print it then.
		if c.ofAddress() && !checked {
			es, checked = append(es, g.family.only()...), true
		}
		es = append(es, c.exprs()...)
		text += c.String() + " "
	}
	return jump(text, es, g.chainName(portsChain))
}

func jump(text string, es []expr.Any, to string) portRule {
	return portRule{text + "jump " + to, append(es, &expr.Verdict{Kind: expr.VerdictJump, Chain: to})}
}

// groupsOf returns the groups that have their sets, in order.
func groupsOf(sets []set) (groups []portGroup) {
	for _, r := range rolesOf(sets, TCP.String()) {
		groups = append(groups, portGroup{r.family, r.arg})
	}
	return groups
}

// rules mark packets that may be masqueraded, and send packets to containers. A mapping for one of
// the host's addresses goes before one for all.
func (g portGroup) rules(sets []set) (rules []portRule) {
	for _, r := range rolesOf(sets, hostSNATName, snatName) {
		if r.family == g.family && r.arg == g.hash {
			rules = append(rules, g.mark(r.set(), r.head == hostSNATName, r.bit))
		}
	}
	for _, host := range []bool{true, false} {
		for _, p := range protocols() {
			rules = append(rules, g.dnat(p, host))
		}
	}
	return rules
}

// mark sets the mark's bit if a set has protocol and port.
func (g portGroup) mark(s set, host bool, bit int) portRule {
	f := g.family
	es, text, at := f.only(), f.onlyText()+" ", 0
	if host {
		es, text, at = append(es, f.destination(0)...), pick(f, "ip", "ip6")+" daddr . ", f.bits()/32
	}
	es = append(es, &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register(uint32(at))}, destinationPort(at+1),
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name})
	return portRule{fmt.Sprintf("%smeta l4proto . th dport @%s meta mark set meta mark | 0x%08x", text, s.name, 1<<bit),
		append(es, setMark(^uint32(1<<bit), 1<<bit)...)}
}

// dnat sends packets for a protocol's mapped port to its container.
func (g portGroup) dnat(p Protocol, host bool) portRule {
	f, s := g.family, g.ports(p, host)
	family := pick(f, "ip", "ip6")
	es := append(f.only(), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{byte(p)}})
	only, key, at := f.onlyText()+" ", "", 0
	if host {
		es, at = append(es, f.destination(0)...), f.bits()/32
		only, key = "", family+" daddr . "
	}
	es = append(append(es, destinationPort(at)), f.translation(expr.NATTypeDestNAT, s, register(uint32(f.bits()/32)))...)
	return portRule{fmt.Sprintf("%sdnat %s to %s%s dport map @%s", only, family, key, p, s.name), es}
}

// translation gives packets what a map has for them: an address, and a port in a register if there
// is one.
func (f portFamily) translation(kind expr.NATType, s set, port uint32) []expr.Any {
	return []expr.Any{
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, IsDestRegSet: true, SetName: s.name},
		&expr.NAT{Type: kind, Family: uint32(pick(f, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6)), RegAddrMin: unix.NFT_REG_1, RegProtoMin: port},
	}
}

// destinationPort loads the port, which begins at byte 2 of the headers of all protocols that have
// one.
func destinationPort(at int) expr.Any {
	return &expr.Payload{DestRegister: register(uint32(at)), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
}

// register returns register n of those of 4 bytes, by the name that the kernel prints. If a
// register of 16 bytes begins there, that is its name.
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

// masqueradeRules masquerade connections by our mappings. Those that come back into the subnet need
// it because the answer wouldn't pass the host. Those from 127.0.0.1 need it because the answer
// wouldn't leave the container; IPv6 has no route_localnet. Our connections have the mark. Others,
// such as Services of Kubernetes, lead to the same containers and keep the client's address.
func masqueradeRules(sets []set) (rules []portRule) {
	var looped [32]bool
	for _, r := range rolesOf(sets, hairpinName, masqAllName, snatName) {
		switch {
		case r.head == hairpinName:
			rules = append(rules, r.family.hairpinRule(r.set(), r.length(), r.bit))
		case r.head == masqAllName:
			rules = append(rules, r.family.masqAllRule(r.set(), r.bit))
		case r.family == family4 && !looped[r.bit]:
			rules = append(rules, loopbackRule(r.bit))
			looped[r.bit] = true
		}
	}
	return rules
}

func (f portFamily) hairpinRule(s set, length, bit int) portRule {
	es, text := ours(bit)
	es = append(append(es, f.only()...), f.destination(0)...)
	es = append(es, f.source(f.bits()/32)...)
	text += fmt.Sprintf(" %[1]s daddr . %[1]s saddr", pick(f, "ip", "ip6"))
	if length < f.bits() {
		es = append(es, f.mask(length, f.bits()/32))
		text += " & " + f.maskText(length)
	}
	return portRule{text + " @" + s.name + " masquerade", append(es, &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name}, &expr.Masq{})}
}

func (f portFamily) masqAllRule(s set, bit int) portRule {
	es, text := ours(bit)
	es = append(append(es, f.only()...), f.destination(0)...)
	return portRule{text + " " + pick(f, "ip", "ip6") + " daddr @" + s.name + " masquerade",
		append(es, &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name}, &expr.Masq{})}
}

func loopbackRule(bit int) portRule {
	es, text := ours(bit)
	es = append(es, family4.only()...)
	es = append(es, compare(family4.sourceOffset(), expr.CmpOpEq, loopback4())...)
	return portRule{text + " ip saddr 127.0.0.0/8 masquerade", append(es, &expr.Masq{})}
}

// unmarkRules take the mark back from packets that aren't masqueraded, before others' rules see it.
// Some of these masquerade whatever has the bit: netavark's do, and those of the reference's
// portmap, which stay when its containers have gone. Then servers wouldn't see who their clients
// are.
func unmarkRules(sets []set) (rules []portRule) {
	var done []role
	for _, r := range rolesOf(sets, snatName) {
		r = role{family: r.family, bit: r.bit}
		if slices.Contains(sets, r.family.published()) && !slices.Contains(done, r) {
			rules, done = append(rules, r.family.unmarkRule(r.bit)), append(done, r)
		}
	}
	return rules
}

// unmarkRule leaves the packets of others' containers alone, whose mark is the same bit.
func (f portFamily) unmarkRule(bit int) portRule {
	es, text := ours(bit)
	es = append(append(es, f.only()...), f.destination(0)...)
	s, mask := f.published(), ^uint32(1<<bit)
	es = append(es, &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name})
	return portRule{fmt.Sprintf("%s %s daddr @%s meta mark set meta mark & 0x%08x", text, pick(f, "ip", "ip6"), s.name, mask),
		append(es, setMark(mask, 0)...)}
}

func loopback4() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

// ctDNAT is IPS_DST_NAT (linux/netfilter/nf_conntrack_common.h).
const ctDNAT = 1 << 5

// ours matches packets that a mapping of ours sent on their way: their mark has the bit.
func ours(bit int) ([]expr.Any, string) {
	es := append([]expr.Any{&expr.Ct{Key: expr.CtKeySTATUS, Register: unix.NFT_REG_1}}, masked(ctDNAT)...)
	es = append(es, &expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1},
		&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4, Mask: native(1 << bit), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: native(1 << bit)})
	return es, fmt.Sprintf("ct status dnat meta mark & 0x%08[1]x == 0x%08[1]x", 1<<bit)
}

// localnet drops packets that arrive on a wire for the host's loopback. With route_localnet, which
// 127.0.0.1 needs, the kernel would let a link's neighbours reach programs that listen on the
// host's loopback only (as in CVE-2020-8558).
func localnet() portRule {
	es := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: unix.NFT_REG_1},
		// LOOPBACK_IFINDEX (net/flow.h) is 1 in every namespace.
		&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: binaryutil.NativeEndian.PutUint32(1)},
	}
	es = append(es, family4.only()...)
	es = append(es, compare(family4.destinationOffset(), expr.CmpOpEq, loopback4())...)
	return portRule{`iif != "lo" ip daddr 127.0.0.0/8 drop`, append(es, &expr.Verdict{Kind: expr.VerdictDrop})}
}
