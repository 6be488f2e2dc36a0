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

// A batch is the messages of one transaction: tables, sets, chains and rules, and then elements. The zero batch is
// empty and ready.
type batch struct {
	library  nftables.Conn
	used     bool // the library has messages
	elements []netlink.Message
	lastID   uint32
}

// messages returns the batch's messages without the frame of a transaction, with no answer asked for.
func (b *batch) messages() []netlink.Message {
	if !b.used {
		return b.elements
	}
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
		return b.elements
	}
	ms := caught[1 : len(caught)-1]
	for i := range ms {
		ms[i].Header.Flags &^= netlink.Acknowledge | netlink.Echo
	}
	return append(ms[:len(ms):len(ms)], b.elements...)
}

// lib returns the library to add messages to.
func (b *batch) lib() *nftables.Conn {
	b.used = true
	return &b.library
}

// create adds elements; the transaction is refused if their keys are taken. Without NLM_F_EXCL the kernel would take
// an element that's there for success, and leave it with its owner.
func (b *batch) create(es []element) {
	b.elements = encodeElements(b.elements, unix.NFT_MSG_NEWSETELEM, netlink.Create|netlink.Excl, es)
}

// delete deletes elements; the transaction is refused if their keys aren't there.
func (b *batch) delete(es []element) {
	b.elements = encodeElements(b.elements, unix.NFT_MSG_DELSETELEM, 0, keysOf(es))
}

// keysOf returns elements without their comments, which a deletion doesn't need.
func keysOf(es []element) []element {
	keys := make([]element, len(es))
	for i, e := range es {
		keys[i] = element{set: e.set, key: e.key}
	}
	return keys
}

// object returns the library's description of a set.
func (s set) object() *nftables.Set {
	o := &nftables.Set{Table: s.table.object(), Name: s.name, KeyByteOrder: binaryutil.BigEndian}
	switch s.key {
	case address4:
		o.KeyType = nftables.TypeIPAddr
	case address6:
		o.KeyType = nftables.TypeIP6Addr
	case link:
		o.KeyType, o.KeyByteOrder = nftables.TypeIFName, binaryutil.NativeEndian
	case linkAndMAC:
		// Two types, so no error. It isn't marked as a concatenation: that is for sets with intervals.
		o.KeyType, _ = nftables.ConcatSetType(nftables.TypeIFName, nftables.TypeEtherAddr)
		o.KeyByteOrder = nil
	case linkPair:
		o.KeyType, _ = nftables.ConcatSetType(nftables.TypeIFName, nftables.TypeIFName)
		o.KeyByteOrder = nil
	default:
		s.key.portTypes(o)
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
		b.lib().AddTable(t.object())
		for _, s := range r.sets(t) {
			o := s.object()
			// It only needs to differ within the batch; the library would count it up in a variable that its
			// connections share without a lock.
			b.lastID++
			o.ID = b.lastID
			_ = b.lib().AddSet(o, nil) // fails for anonymous sets only
		}
		for _, c := range r.chains(t) {
			b.chain(c)
		}
	}
}

func (b *batch) chain(c chain) {
	accept := nftables.ChainPolicyAccept
	o := &nftables.Chain{
		Name: c.name, Table: c.table.object(), Type: nftables.ChainType(c.hook.kind),
		Hooknum:  nftables.ChainHookRef(nftables.ChainHook(c.hook.number)),
		Priority: nftables.ChainPriorityRef(nftables.ChainPriority(c.hook.priority)),
		Policy:   &accept,
	}
	b.lib().AddChain(o)
	b.lib().FlushChain(o)
	b.lib().AddRule(&nftables.Rule{Table: o.Table, Chain: o, Exprs: c.rule.exprs()})
}

func (b *batch) deleteRule(t table, chain string, handle uint64) {
	o := t.object()
	_ = b.lib().DelRule(&nftables.Rule{Table: o, Chain: &nftables.Chain{Name: chain, Table: o}, Handle: handle}) // fails without a handle only
}

// deleteChain empties a chain and deletes it. No rule may lead to it by then.
func (b *batch) deleteChain(t table, chain string) {
	o := &nftables.Chain{Name: chain, Table: t.object()}
	b.lib().FlushChain(o)
	b.lib().DelChain(o)
}

// exprs returns a rule as the nft program compiles it, so that it also prints it.
func (r rule) exprs() []expr.Any {
	if !r.subnet.IsValid() {
		return []expr.Any{
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: guarded.name},
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
			// The MAC lands right behind the name: registers 1 and 2 are 16 bytes each, and adjacent.
			&expr.Payload{DestRegister: unix.NFT_REG_2, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: macLen},
			&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: allowed.name, Invert: true},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}
	}
	// Source addresses stand at byte 12 (IPv4) and 8 (IPv6) of their headers.
	family, offset := byte(unix.NFPROTO_IPV4), uint32(12)
	if r.subnet.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, 8
	}
	s := masqueradeSet(r.subnet)
	es := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: unix.NFT_REG_1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: unix.NFT_REG_1, Data: []byte{family}},
		network(offset, uint32(s.key.len())),
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: s.name},
	}
	es = append(es, outside(r.subnet)...)
	es = append(es, outside(multicast(r.subnet))...)
	return append(es, &expr.Masq{})
}

func network(offset, n uint32) expr.Any {
	return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n}
}

// outside matches packets to addresses not in a prefix. Destinations stand at byte 16 (IPv4) and 24 (IPv6) of their
// headers. A prefix of whole bytes is compared without a mask, as the nft program does it too: so rules that a
// firewall saved and restored are still the same.
func outside(p netip.Prefix) []expr.Any {
	offset := uint32(16)
	if p.Addr().Is6() {
		offset = 24
	}
	addr := p.Addr().AsSlice()
	if p.Bits()%8 == 0 {
		addr = addr[:p.Bits()/8]
	}
	n := uint32(len(addr))
	es := []expr.Any{network(offset, n)}
	if p.Bits() < len(addr)*8 {
		mask := make([]byte, n)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		es = append(es, &expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: n, Mask: mask, Xor: make([]byte, n)})
	}
	return append(es, &expr.Cmp{Op: expr.CmpOpNeq, Register: unix.NFT_REG_1, Data: addr})
}
