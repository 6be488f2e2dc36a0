// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Neigh says where a link's neighbour is. With an Addr it's an ARP or NDP entry: that address is
// at that MAC. Without one it's an entry of a bridge's forwarding table (FDB): that MAC is behind
// that port.
type Neigh struct {
	// Link is the index of the link or, for the FDB, of the port.
	Link int
	// Addr is the neighbour's address. The zero Addr makes it an FDB entry.
	Addr netip.Addr
	// MAC is the neighbour's hardware address.
	MAC net.HardwareAddr
	// VLAN is the FDB entry's VLAN, if the bridge filters. A neighbour has none.
	VLAN int
	// State is how the kernel came by the entry, and whether it forgets it. Zero is permanent for a
	// neighbour and static for the FDB. Both stay until they are deleted.
	State NeighState
}

// A NeighState is the state of a neighbour (NUD_*, linux/neighbour.h).
type NeighState uint16

// States of a neighbour. An FDB entry that is NeighPermanent is the bridge's own (local): frames to
// it aren't sent.
const (
	NeighIncomplete NeighState = unix.NUD_INCOMPLETE
	NeighReachable  NeighState = unix.NUD_REACHABLE
	NeighStale      NeighState = unix.NUD_STALE
	NeighFailed     NeighState = unix.NUD_FAILED
	NeighNoARP      NeighState = unix.NUD_NOARP
	NeighPermanent  NeighState = unix.NUD_PERMANENT
)

func (n Neigh) encode(b *Batch, v verb) {
	typ, flags := uint16(unix.RTM_NEWNEIGH), v.flags()
	switch v {
	case remove:
		typ = unix.RTM_DELNEIGH
	case set:
		flags |= unix.NLM_F_REPLACE
	}
	family, master, state := familyOf(n.Addr), uint8(0), n.State
	if family == unix.AF_UNSPEC {
		// Without NTF_MASTER the entry goes to the port's own driver.
		family, master = unix.AF_BRIDGE, unix.NTF_MASTER
		if state == 0 {
			state = NeighNoARP
		}
	} else if state == 0 {
		state = NeighPermanent
	}
	if v == remove {
		state = 0
	}
	b.begin(typ, flags)
	// struct ndmsg (linux/neighbour.h).
	e := &b.enc
	e.fixed(family, 0, 0, 0)
	e.fixed32(uint32(n.Link))
	e.buf = binary.NativeEndian.AppendUint16(e.buf, uint16(state))
	e.fixed(master, 0)
	if n.Addr.IsValid() {
		e.addr(unix.NDA_DST, n.Addr)
	}
	// A neighbour is deleted by address; its MAC would be ignored.
	if n.MAC != nil && (v != remove || !n.Addr.IsValid()) {
		e.bytes(unix.NDA_LLADDR, n.MAC)
	}
	if n.VLAN != 0 {
		e.u16(unix.NDA_VLAN, uint16(n.VLAN))
	}
	b.end()
}

func decodeNeigh(b []byte) (Neigh, error) {
	var n Neigh
	if len(b) < unix.SizeofNdMsg {
		return n, errShort
	}
	fdb := b[0] == unix.AF_BRIDGE
	n.Link = int(int32(binary.NativeEndian.Uint32(b[4:])))
	n.State = NeighState(binary.NativeEndian.Uint16(b[8:]))
	a := attrs{rest: b[unix.SizeofNdMsg:]}
	for a.next() {
		switch a.typ {
		case unix.NDA_DST:
			if !fdb {
				n.Addr = a.addr()
			}
		case unix.NDA_LLADDR:
			n.MAC = a.bytes()
		case unix.NDA_VLAN:
			n.VLAN = int(a.u16())
		}
	}
	if a.err == nil && !fdb && !n.Addr.IsValid() {
		a.err = errShort
	}
	return n, a.err
}

func (n Neigh) write(w *words) {
	if n.Addr.IsValid() {
		w.word("neigh", n.Addr.String())
		if n.MAC != nil {
			w.word("lladdr", n.MAC.String())
		}
	} else {
		w.word("fdb", n.MAC.String())
	}
	w.word("dev", w.link(n.Link))
	w.number("vlan", n.VLAN)
	if name := n.State.String(); name != "" {
		w.word(name)
	}
}

// String returns iproute2's word for the state.
func (s NeighState) String() string {
	switch s {
	case NeighIncomplete:
		return "incomplete"
	case NeighReachable:
		return "reachable"
	case NeighStale:
		return "stale"
	case NeighFailed:
		return "failed"
	case NeighNoARP:
		return "noarp"
	case NeighPermanent:
		return "permanent"
	}
	return ""
}
