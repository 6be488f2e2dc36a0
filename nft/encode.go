// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"io/fs"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// This file alone knows google/nftables, and only as an encoder: its connection would open a socket for
// each flush and wait twice for each object. What it encodes is caught on its way to that socket.

// A batch is the messages of one transaction. The zero batch is empty and ready.
type batch struct {
	library nftables.Conn
	excl    bool // whether elements that are there already refuse the transaction
}

// messages returns the batch's messages without the frame of a transaction, with no answer asked for.
func (b *batch) messages() []netlink.Message {
	var caught []netlink.Message
	b.library.TestDial = func(ms []netlink.Message) ([]netlink.Message, error) {
		if ms != nil {
			caught = ms
		}
		// The one refusal after which the library doesn't wait for each message's answer.
		return nil, fs.ErrPermission
	}
	_ = b.library.Flush()
	if len(caught) == 0 {
		return nil
	}
	ms := caught[1 : len(caught)-1]
	for i := range ms {
		h := &ms[i].Header
		h.Flags &^= netlink.Acknowledge | netlink.Echo
		if b.excl && h.Type == messageType(unix.NFT_MSG_NEWSETELEM) {
			h.Flags |= netlink.Excl
		}
	}
	return ms
}

// elementsPerMessage keeps the list of elements under the 64 KiB that an attribute holds.
const elementsPerMessage = 256

// create adds elements, delete deletes them: a message for each set, or several if there are many.
func (b *batch) create(es []element) { b.elements(es, b.library.SetAddElements) }
func (b *batch) delete(es []element) { b.elements(keysOf(es), b.library.SetDeleteElements) }

// keysOf returns elements without their values, which a deletion doesn't need.
func keysOf(es []element) []element {
	keys := make([]element, len(es))
	for i, e := range es {
		keys[i] = element{set: e.set, key: e.key}
	}
	return keys
}

func (b *batch) elements(es []element, add func(*nftables.Set, []nftables.SetElement) error) {
	for s := range sets {
		var list []nftables.SetElement
		for _, e := range es {
			if e.set != s {
				continue
			}
			list = append(list, encodeElement(e))
			if len(list) == elementsPerMessage {
				_ = add(s.object(), list) // fails for anonymous sets only
				list = nil
			}
		}
		if list != nil {
			_ = add(s.object(), list)
		}
	}
}

func encodeElement(e element) nftables.SetElement {
	v := nftables.SetElement{Key: e.key, Comment: e.comment}
	if e.chain != "" {
		v.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.chain}
	}
	return v
}

// object returns the library's description of a set. The ID only needs to differ within a batch; the
// library would count one up in a variable that its connections share without a lock.
func (s set) object() *nftables.Set {
	o := &nftables.Set{Table: s.table().object(), Name: s.String(), ID: uint32(s) + 1, KeyByteOrder: binaryutil.BigEndian}
	switch s {
	case masq4:
		o.IsMap, o.KeyType, o.DataType = true, nftables.TypeIPAddr, nftables.TypeVerdict
	case masq6:
		o.IsMap, o.KeyType, o.DataType = true, nftables.TypeIP6Addr, nftables.TypeVerdict
	case guarded:
		o.KeyType, o.KeyByteOrder = nftables.TypeIFName, binaryutil.NativeEndian
	case allowed:
		// Two types, so no error. It isn't marked as a concatenation: that is for sets with intervals.
		o.KeyType, _ = nftables.ConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr)
		o.KeyByteOrder = nil
	}
	return o
}

func (t table) object() *nftables.Table {
	return &nftables.Table{Name: t.name, Family: nftables.TableFamily(t.family)}
}

// build adds what the ruleset consists of and isn't there. Rules are replaced by themselves, within the
// transaction, so that building twice, even at once, makes nothing double.
func (b *batch) build(r Ruleset) {
	for _, t := range r.tables() {
		b.library.AddTable(t.object())
		for s := range sets {
			if s.table() == t {
				_ = b.library.AddSet(s.object(), nil) // fails for anonymous sets only
			}
		}
		for _, c := range r.chains(t) {
			b.chain(c)
		}
	}
}

func (b *batch) chain(c chain) {
	o := &nftables.Chain{Name: c.name, Table: c.table.object()}
	if c.hook != nil {
		accept := nftables.ChainPolicyAccept
		o.Type = nftables.ChainType(c.hook.kind)
		o.Hooknum = nftables.ChainHookRef(nftables.ChainHook(c.hook.number))
		o.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.hook.priority))
		o.Policy = &accept
	}
	b.library.AddChain(o)
	b.library.FlushChain(o)
	for _, r := range c.rules {
		b.library.AddRule(&nftables.Rule{Table: o.Table, Chain: o, Exprs: r.exprs()})
	}
}

func (b *batch) deleteRule(t table, chain string, handle uint64) {
	o := t.object()
	_ = b.library.DelRule(&nftables.Rule{Table: o, Chain: &nftables.Chain{Name: chain, Table: o}, Handle: handle}) // fails without a handle only
}

// deleteChain empties a chain and deletes it. No rule may lead to it by then.
func (b *batch) deleteChain(t table, chain string) {
	o := &nftables.Chain{Name: chain, Table: t.object()}
	b.library.FlushChain(o)
	b.library.DelChain(o)
}

// exprs returns a rule as the nft program compiles it, so that it also prints it.
func (r rule) exprs() []expr.Any {
	switch r.kind {
	case vmap4:
		return append(protocol(unix.NFPROTO_IPV4), network(12, 4), lookupVerdict(masq4))
	case vmap6:
		return append(protocol(unix.NFPROTO_IPV6), network(8, 16), lookupVerdict(masq6))
	case returnTo:
		return append(destination(r.prefix), &expr.Verdict{Kind: expr.VerdictReturn})
	case masquerade:
		return []expr.Any{&expr.Masq{}}
	case dropSpoofed:
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: guarded.String()},
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
			// The MAC lands right behind the name: registers 1 and 2 are 16 bytes each, and adjacent.
			&expr.Payload{DestRegister: unix.NFT_REG_2, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: macLen},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: allowed.String(), Invert: true},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}
	}
	return nil
}

func protocol(family byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{family}},
	}
}

func network(offset, n uint32) expr.Any {
	return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n}
}

func lookupVerdict(s set) expr.Any {
	return &expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.String(), DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
}

// destination matches packets to a prefix. Addresses stand at byte 16 (IPv4) and 24 (IPv6) of their headers.
// A prefix of whole bytes is compared without a mask, as the nft program does it too: so rules that a firewall
// saved and restored are still the same.
func destination(p netip.Prefix) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(16)
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, 24
	}
	addr := p.Masked().Addr().AsSlice()
	if p.Bits() > 0 && p.Bits()%8 == 0 {
		addr = addr[:p.Bits()/8]
	}
	n := uint32(len(addr))
	es := append(protocol(family), network(offset, n))
	if p.Bits() < len(addr)*8 {
		mask := make([]byte, n)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		es = append(es, &expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: n, Mask: mask, Xor: make([]byte, n)})
	}
	return append(es, &expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: addr})
}
