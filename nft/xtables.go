// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"slices"
)

// Conditions and targets of xtables, which the rules of both iptables consist of. Their forms are
// those of linux/netfilter/xt_*.h.

// xtMatch reports whether a condition holds for a packet, and whether the condition is exactly the
// packet's port.
func (p *Packet) xtMatch(name string, revision uint32, info []byte) (holds likelihood, port bool) {
	switch name {
	case "comment":
		return yes, false
	case "conntrack":
		return p.xtConntrack(revision, info), false
	case "state":
		if len(info) >= 4 {
			return p.hasState(binary.NativeEndian.Uint32(info)), false
		}
	case "mark":
		if revision == 1 && len(info) >= 9 && string(info[:9]) == string(markInfo()[:9]) {
			return likely(p.Allowed), false
		}
	case "tcp", "udp":
		return p.xtPorts(info, name == "tcp")
	case "multiport":
		return p.xtMultiport(revision, info)
	}
	return maybe, false
}

// xtConntrack reads struct xt_conntrack_mtinfo1 to 3. Only states are understood.
func (p *Packet) xtConntrack(revision uint32, info []byte) likelihood {
	const flagsAt, matchState = 146, 1
	if len(info) < flagsAt+8 {
		return maybe
	}
	at := func(i int) uint32 { return uint32(binary.NativeEndian.Uint16(info[flagsAt+i:])) }
	flags, inverted, states := at(0), at(2), at(4)
	if revision == 1 {
		states &= 0xff
	}
	if flags&matchState == 0 {
		return maybe
	}
	holds := p.hasState(states)
	if inverted&matchState != 0 && holds != maybe {
		holds = yes - holds
	}
	if flags != matchState {
		holds = min(holds, maybe)
	}
	return holds
}

// hasState reports whether the packet has one of some states.
func (p *Packet) hasState(states uint32) likelihood {
	switch {
	case states&stateNew != 0, states&stateDNAT != 0 && p.DNAT:
		return yes
	case states&stateSNAT != 0:
		return maybe
	}
	return no
}

// xtPorts reads struct xt_tcp and struct xt_udp.
func (p *Packet) xtPorts(info []byte, tcp bool) (likelihood, bool) {
	if len(info) < 10 {
		return maybe, false
	}
	word := func(i int) uint16 { return binary.NativeEndian.Uint16(info[2*i:]) }
	inverted := info[8]
	more := word(0) != 0 || word(1) != 0xffff || inverted&^2 != 0
	if tcp && len(info) >= 12 {
		inverted = info[11]
		more = word(0) != 0 || word(1) != 0xffff || info[8] != 0 || info[9] != 0 || inverted&^2 != 0
	}
	holds := yes
	if low, high := word(2), word(3); low != 0 || high != 0xffff {
		holds = maybe
		if p.Port != 0 {
			holds = likely((low <= p.Port && p.Port <= high) != (inverted&2 != 0))
		}
	}
	exact := holds == yes && inverted&2 == 0 && word(2) == p.Port && word(3) == p.Port && p.Port != 0
	if more {
		holds = min(holds, maybe)
	}
	return holds, exact
}

// xtMultiport reads struct xt_multiport_v1: direction, count, 15 ports, 15 marks that a range
// begins, inversion.
func (p *Packet) xtMultiport(revision uint32, info []byte) (likelihood, bool) {
	const destination = 1
	if revision != 1 || len(info) < 48 || p.Port == 0 || info[0] != destination || info[47] != 0 || slices.Max(info[32:47]) != 0 {
		return maybe, false
	}
	for i := range min(int(info[1]), 15) {
		if binary.NativeEndian.Uint16(info[2+2*i:]) == p.Port {
			return yes, true
		}
	}
	return no, false
}

// xtTarget is what a target does.
func xtTarget(name string) action {
	switch name {
	case "REJECT", "DROP":
		return drops
	case "DNAT", "REDIRECT", "NETMAP":
		return translates
	}
	return goesOn
}
