// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The library has no look-up of one object by its name. These are ours.

// getChain asks for one chain.
func getChain(t table, name string) netlink.Message {
	return request(unix.NFT_MSG_GETCHAIN, t.family,
		nameAttribute{unix.NFTA_CHAIN_TABLE, t.name}, nameAttribute{unix.NFTA_CHAIN_NAME, name})
}

// listRules asks for the rules of one chain. The kernel filters. A missing chain has none.
func listRules(t table, chain string) netlink.Message {
	return request(unix.NFT_MSG_GETRULE, t.family,
		nameAttribute{unix.NFTA_RULE_TABLE, t.name}, nameAttribute{unix.NFTA_RULE_CHAIN, chain})
}

// listElements asks for the elements of one set.
func listElements(s set) netlink.Message {
	return request(unix.NFT_MSG_GETSETELEM, s.table.family,
		nameAttribute{unix.NFTA_SET_ELEM_LIST_TABLE, s.table.name}, nameAttribute{unix.NFTA_SET_ELEM_LIST_SET, s.name})
}

// listSets asks for the sets of one table. The kernel filters. A missing table has none.
func listSets(t table) netlink.Message {
	return request(unix.NFT_MSG_GETSET, t.family, nameAttribute{unix.NFTA_SET_TABLE, t.name})
}

// getSet asks for one set.
func getSet(s set) netlink.Message {
	return request(unix.NFT_MSG_GETSET, s.table.family, nameAttribute{unix.NFTA_SET_TABLE, s.table.name}, nameAttribute{unix.NFTA_SET_NAME, s.name})
}

// getGeneration asks for the ruleset's generation, which each transaction counts up.
func getGeneration() netlink.Message { return request(unix.NFT_MSG_GETGEN, 0) }

type nameAttribute struct {
	kind  uint16
	value string
}

func request(kind int, family byte, names ...nameAttribute) netlink.Message {
	room := 0
	for _, a := range names {
		room += unix.SizeofNlAttr + align(len(a.value)+1)
	}
	b := genMessage(family, 0, room)
	for _, a := range names {
		b = appendText(b, int(a.kind), a.value)
	}
	return netlink.Message{Header: netlink.Header{Type: messageType(kind), Flags: netlink.Request}, Data: b}
}

// compatRequest asks whether the kernel has a match of xtables (NFNL_MSG_COMPAT_GET,
// linux/netfilter/nf_tables_compat.h), of at least this revision.
func compatRequest(family byte, name string, revision uint32) netlink.Message {
	m := request(0, family, nameAttribute{unix.NFTA_COMPAT_NAME, name})
	m.Header.Type = unix.NFNL_SUBSYS_NFT_COMPAT << 8
	const match = 0 // the type; 1 is a target
	for _, a := range [...]struct {
		kind  uint16
		value uint32
	}{{unix.NFTA_COMPAT_REV, revision}, {unix.NFTA_COMPAT_TYPE, match}} {
		m.Data = binary.NativeEndian.AppendUint16(m.Data, unix.SizeofNlAttr+4)
		m.Data = binary.NativeEndian.AppendUint16(m.Data, a.kind)
		m.Data = binary.BigEndian.AppendUint32(m.Data, a.value)
	}
	return m
}
