// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"io/fs"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Only this file knows google/nftables, and only as an encoder. The library's connection would open
// a socket for each flush and wait twice for each object. So its messages are caught on their way
// to that socket.

// A batch is the messages of one transaction: tables, sets, chains and rules, and then elements.
// The zero batch is empty and ready.
type batch struct {
	library  nftables.Conn
	used     bool // the library has messages
	elements []netlink.Message
	lastID   uint32
}

// messages returns the batch's messages without the frame of a transaction, with no answer asked
// for.
func (b *batch) messages() []netlink.Message {
	if !b.used {
		return b.elements
	}
	var caught []netlink.Message
	b.library.TestDial = func(ms []netlink.Message) ([]netlink.Message, error) {
		if ms != nil {
			caught = ms
		}
		// After this refusal alone, the library doesn't wait for each message's answer.
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

// empty reports whether a batch changes nothing.
func (b *batch) empty() bool { return !b.used && len(b.elements) == 0 }

// create adds elements. The transaction is refused if their keys are taken. Without NLM_F_EXCL the
// kernel would report success for an element that exists, and leave it with its owner.
func (b *batch) create(es []element) {
	b.elements = encodeElements(b.elements, unix.NFT_MSG_NEWSETELEM, netlink.Create|netlink.Excl, es)
}

// delete deletes elements. The transaction is refused if their keys don't exist.
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

// object returns the library's description of a set. A joined key isn't marked as a concatenation:
// that is for sets with intervals.
func (s set) object() *nftables.Set {
	o := &nftables.Set{Table: s.table.object(), Name: s.name, IsMap: s.key.isMap()}
	key, value := s.key.parts()
	o.KeyType, o.DataType = joined(key), joined(value)
	switch {
	case len(key) > 1:
	case s.key == link:
		o.KeyByteOrder = binaryutil.NativeEndian
	default:
		o.KeyByteOrder = binaryutil.BigEndian
	}
	return o
}

// joined returns the library's type of a key or value.
func joined(parts []string) nftables.SetDatatype {
	types := make([]nftables.SetDatatype, len(parts))
	for i, p := range parts {
		switch p {
		case "ipv4_addr":
			types[i] = nftables.TypeIPAddr
		case "ipv6_addr":
			types[i] = nftables.TypeIP6Addr
		case "ifname":
			types[i] = nftables.TypeIFName
		case "ether_addr":
			types[i] = nftables.TypeEtherAddr
		case "inet_proto":
			types[i] = nftables.TypeInetProto
		case "inet_service":
			types[i] = nftables.TypeInetService
		}
	}
	switch len(types) {
	case 0:
		return nftables.SetDatatype{}
	case 1:
		return types[0]
	}
	t, _ := nftables.ConcatSetType(types...) // fails for more types than any key here has
	return t
}

func (t table) object() *nftables.Table {
	return &nftables.Table{Name: t.name, Family: nftables.TableFamily(t.family)}
}

// set adds a set. One that exists isn't changed.
func (b *batch) set(s set) {
	o := s.object()
	// It only needs to differ within the batch. The library would count it up in a variable that
	// its connections share without a lock.
	b.lastID++
	o.ID = b.lastID
	_ = b.lib().AddSet(o, nil) // fails for anonymous sets only
}

func (b *batch) deleteSet(s set) { b.lib().DelSet(s.object()) }

// chain adds a chain, and makes its rules anew within the transaction. So building twice, even at
// once, doubles nothing.
func (b *batch) chain(c chain) {
	o := b.addChain(c)
	b.lib().FlushChain(o)
	for _, r := range c.rules {
		b.lib().AddRule(&nftables.Rule{Table: o.Table, Chain: o, Exprs: r.exprs})
	}
}

// addChain adds a chain. One that exists isn't changed.
func (b *batch) addChain(c chain) *nftables.Chain {
	o := &nftables.Chain{Name: c.name, Table: c.table.object()}
	if c.hook.kind != "" {
		accept := nftables.ChainPolicyAccept
		o.Type, o.Policy = nftables.ChainType(c.hook.kind), &accept
		o.Hooknum = nftables.ChainHookRef(nftables.ChainHook(c.hook.number))
		o.Priority = nftables.ChainPriorityRef(nftables.ChainPriority(c.hook.priority))
	}
	return b.lib().AddChain(o)
}

func (b *batch) deleteRule(t table, chain string, handle uint64) {
	o := t.object()
	// This fails only without a handle.
	_ = b.lib().DelRule(&nftables.Rule{Table: o, Chain: &nftables.Chain{Name: chain, Table: o}, Handle: handle})
}

// deleteChain empties a chain and deletes it. No rule may lead to it by then.
func (b *batch) deleteChain(t table, chain string) {
	o := &nftables.Chain{Name: chain, Table: t.object()}
	b.lib().FlushChain(o)
	b.lib().DelChain(o)
}

// guardRule drops frames that come in by a guarded link with a MAC that isn't allowed there.
func guardRule() portRule {
	return portRule{"iifname @guarded iifname . ether saddr != @allowed drop", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: guarded.name},
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: unix.NFT_REG_1},
		// The MAC lands right behind the name: registers 1 and 2 are 16 bytes each, and adjacent.
		&expr.Payload{DestRegister: unix.NFT_REG_2, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: macLen},
		&expr.Lookup{SourceRegister: unix.NFT_REG_1, SetName: allowed.name, Invert: true},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}}
}

func network(offset, n uint32) expr.Any {
	return &expr.Payload{DestRegister: unix.NFT_REG_1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n}
}
