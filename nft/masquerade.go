// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// masqueradeChain returns the chain of masquerade. Its rules follow from the sets that exist. In a
// nat chain, a "return" leads only to its policy, which is to accept. So the chains of port
// mappings are visited all the same.
func masqueradeChain(sets []set) chain {
	// NF_IP_PRI_NAT_SRC (linux/netfilter_ipv4.h), which inet shares.
	c := chain{masqueradeTable, postrouting, hook{"nat", postrouting, "srcnat", unix.NF_INET_POST_ROUTING, 100}, nil}
	for _, r := range rolesOf(sets, ownName, outboundName, masqName) {
		switch r.head {
		case ownName:
			c.rules = append(c.rules, r.family.returnRule(r.length()))
		case outboundName:
			c.rules = append(c.rules, r.family.outboundRule())
		default:
			c.rules = append(c.rules, r.family.masqueradeRule())
		}
	}
	return c
}

// masqueradeSets returns the sets that addresses need, each with its subnet's length.
func masqueradeSets(prefixes []netip.Prefix) (sets []set) {
	for _, p := range prefixes {
		f := familyOf(p.Addr())
		sets = append(sets, f.masqueraded())
		if !p.IsSingleIP() {
			sets = append(sets, f.own(p.Bits()))
		}
	}
	return sets
}

// returnRule leaves packets alone that go to the address's own subnet, of a length.
func (f portFamily) returnRule(bits int) portRule {
	family, s := pick(f, "ip", "ip6"), f.own(bits)
	es := append(f.only(), f.source(0)...)
	es = append(es, f.destination(f.bits()/32)...)
	es = append(es, f.mask(bits, f.bits()/32), &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name}, &expr.Verdict{Kind: expr.VerdictReturn})
	return portRule{fmt.Sprintf("%[1]s saddr . %[1]s daddr & %[2]s @%[3]s return", family, f.maskText(bits), s.name), es}
}

// masqueradeRule masquerades all other packets of a masqueraded address, but for multicast.
func (f portFamily) masqueradeRule() portRule {
	family, s := pick(f, "ip", "ip6"), f.masqueraded()
	es := append(f.only(), f.source(0)...)
	es = append(es, &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name})
	es = append(es, compare(f.destinationOffset(), expr.CmpOpNeq, f.multicast())...)
	return portRule{fmt.Sprintf("%[1]s saddr @%[2]s %[1]s daddr != %[3]s masquerade", family, s.name, f.multicast()), append(es, &expr.Masq{})}
}

// outboundRule gives packets of an address the one that it leads to, but for multicast.
func (f portFamily) outboundRule() portRule {
	family, s := pick(f, "ip", "ip6"), f.outbound()
	es := append(f.only(), compare(f.destinationOffset(), expr.CmpOpNeq, f.multicast())...)
	es = append(append(es, f.source(0)...), f.translation(expr.NATTypeSourceNAT, s, 0)...)
	return portRule{fmt.Sprintf("%[1]s daddr != %[3]s snat %[1]s to %[1]s saddr map @%[2]s", family, s.name, f.multicast()), es}
}

// Source addresses begin at byte 12 (IPv4) and 8 (IPv6) of their headers, and destinations follow
// them.
func (f portFamily) sourceOffset() uint32      { return pick[uint32](f, 12, 8) }
func (f portFamily) destinationOffset() uint32 { return pick[uint32](f, 16, 24) }

// source and destination load an address into the registers from number at on, each of 4 bytes.
func (f portFamily) source(at int) []expr.Any      { return f.load(f.sourceOffset(), at) }
func (f portFamily) destination(at int) []expr.Any { return f.load(f.destinationOffset(), at) }

func (f portFamily) load(offset uint32, at int) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register(uint32(at)), Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(f.bits() / 8)}}
}

// mask cuts the address in the registers down to its network.
func (f portFamily) mask(bits, at int) expr.Any {
	r, n := register(uint32(at)), uint32(f.bits()/8)
	return &expr.Bitwise{SourceRegister: r, DestRegister: r, Len: n, Mask: f.maskOf(bits).AsSlice(), Xor: make([]byte, n)}
}

// maskOf returns the network mask of a length as an address.
func (f portFamily) maskOf(bits int) netip.Addr {
	ones, _ := netip.AddrFromSlice(slices.Repeat([]byte{0xff}, f.bits()/8))
	return netip.PrefixFrom(ones, bits).Masked().Addr()
}

func (f portFamily) maskText(bits int) string { return f.maskOf(bits).String() }

// multicast returns the multicast addresses (RFC 5771, RFC 4291 section 2.7).
func (f portFamily) multicast() netip.Prefix {
	return pick(f, netip.PrefixFrom(netip.AddrFrom4([4]byte{224}), 4), netip.PrefixFrom(netip.AddrFrom16([16]byte{0xff}), 8))
}
