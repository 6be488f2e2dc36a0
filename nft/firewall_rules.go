// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// firewallIn and firewallOut are the first and the last of the firewall's chains in the forward
// hook. Those of iptables have priority 0 (NF_IP_PRI_FILTER, linux/netfilter_ipv4.h) and are
// between them.
const (
	firewallIn  = "firewall-in"
	firewallOut = "firewall-out"
)

func firewallSets() []set { return []set{open4, open6, noted4, noted6, policied, sameBridge} }

// firewallChains returns the chains, whose rules never depend on who is attached.
func firewallChains() []portChain {
	in := hook{"filter", "forward", "filter - 10", unix.NF_INET_FORWARD, -10}
	out := hook{"filter", "forward", "filter + 10", unix.NF_INET_FORWARD, 10}
	return []portChain{
		{firewallIn, in, []portRule{unmark(), separate(),
			markRule(family4, open4, true), markRule(family4, open4, false), markRule(family6, open6, true), markRule(family6, open6, false)}},
		{firewallOut, out, []portRule{unmark()}},
	}
}

func native(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }

// setMark keeps the mark's bits of mask and sets others.
func setMark(mask, set uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1},
		&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4, Mask: native(mask), Xor: native(set)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1, SourceRegister: true},
	}
}

// masked matches if bits of the register are set.
func masked(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: 4, Mask: native(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: make([]byte, 4)},
	}
}

// unmark clears the bit: another program's mark doesn't open our way, and ours opens no other way.
func unmark() portRule {
	es := append([]expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: unix.NFT_REG_1}}, masked(AcceptMark)...)
	return portRule{"meta mark & 0x00001000 != 0x00000000 meta mark set meta mark & 0xffffefff", append(es, setMark(^uint32(AcceptMark), 0)...)}
}

// separate drops packets between bridges that have policies, and from a bridge to itself if that
// isn't allowed.
func separate() portRule {
	return portRule{"iifname @policied oifname @policied iifname . oifname != @samebridge drop", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: policied.name},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: unix.NFT_REG_1},
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: policied.name},
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: unix.NFT_REG_2},
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: sameBridge.name, Invert: true},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}}
}

// established are the bits of ct state for established and related (1 << ctinfo+1, NF_CT_STATE_BIT
// in linux/netfilter/nf_conntrack_common.h).
const established = 1<<1 | 1<<2

// markRule marks packets that come from the addresses of a set, or that answer to them.
func markRule(f portFamily, s set, from bool) portRule {
	family, end := pick(f, "ip", "ip6"), "daddr"
	offset := pick[uint32](f, 16, 24)
	if from {
		end, offset = "saddr", pick[uint32](f, 12, 8)
	}
	es := append(f.only(), network(offset, uint32(s.key.len())), &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name})
	text := family + " " + end + " @" + s.name
	if !from {
		es = append(es, &expr.Ct{Key: expr.CtKeySTATE, Register: unix.NFT_REG_1})
		es = append(es, masked(established)...)
		text += " ct state established,related"
	}
	return portRule{text + " meta mark set meta mark | 0x00001000", append(es, setMark(^uint32(AcceptMark), AcceptMark)...)}
}

// buildFirewall adds the missing parts of the firewall, as build does.
func (b *batch) buildFirewall() {
	b.lib().AddTable(masqueradeTable.object())
	for _, s := range firewallSets() {
		o := s.object()
		b.lastID++
		o.ID = b.lastID
		_ = b.library.AddSet(o, nil) // fails for anonymous sets only
	}
	for _, c := range firewallChains() {
		b.portChain(c)
	}
}
