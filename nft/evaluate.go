// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// An evaluation runs a rule's expressions for a packet, as the kernel does. They load values into
// registers and compare them. The registers have 64 bytes: 4 registers of 16, or 16 of 4.
type evaluation struct {
	step
	packet *Packet
	sets   func(name string) *listedSet
	values partly
	ports  [64]bool // bytes that are of the destination's port
}

// evaluate turns a rule into a step.
func evaluate(p *Packet, exprs []byte, sets func(name string) *listedSet) step {
	e := &evaluation{step: step{match: yes}, packet: p, sets: sets, values: unknown(64)}
	expressions(exprs, e.expression)
	return e.step
}

func (e *evaluation) and(l likelihood) { e.match = min(e.match, l) }

func (e *evaluation) expression(name string, data []byte) {
	switch name {
	case "counter", "log", "notrack", "objref":
	case "meta":
		e.meta(data)
	case "payload":
		e.payload(data)
	case "ct":
		e.ct(data)
	case "bitwise":
		e.bitwise(data)
	case "immediate":
		e.immediate(data)
	case "cmp":
		e.compare(data)
	case "lookup":
		e.lookUp(data)
	case "match":
		info, _ := attribute(data, unix.NFTA_MATCH_INFO)
		holds, port := e.packet.xtMatch(matchName(data), numberOf(data, unix.NFTA_MATCH_REV), info)
		e.and(holds)
		e.port = e.port || port
	case "target":
		target, _ := attribute(data, unix.NFTA_TARGET_NAME)
		e.does = xtTarget(string(bytes.TrimRight(target, "\x00")))
	case "reject":
		e.does = drops
	case "nat", "redir":
		e.does = translates
	case "fib", "rt", "socket", "osf", "hash", "numgen", "exthdr", "byteorder", "xfrm", "tunnel":
		e.values, e.ports = unknown(64), [64]bool{}
	default:
		e.and(maybe)
	}
}

// numberOf is an attribute's value, or 0 if it isn't there.
func numberOf(data []byte, kind int) uint32 {
	b, _ := attribute(data, kind)
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// registerAt is where a register's bytes begin (enum nft_registers); beyond the end for the
// verdict's.
func registerAt(number uint32) int {
	switch {
	case number >= unix.NFT_REG32_00 && number <= unix.NFT_REG32_15:
		return int(number-unix.NFT_REG32_00) * 4
	case number >= unix.NFT_REG_1 && number <= unix.NFT_REG_4:
		return int(number-unix.NFT_REG_1) * 16
	}
	return len((&evaluation{}).ports)
}

// load puts a value into a register; the rest of its last 4 bytes is zeroed.
func (e *evaluation) load(number uint32, v partly) {
	at := registerAt(number)
	for i := range (len(v.data) + 3) &^ 3 {
		if at+i >= len(e.ports) {
			return
		}
		e.values.data[at+i], e.values.known[at+i], e.ports[at+i] = 0, 0xff, false
		if i < len(v.data) {
			e.values.data[at+i], e.values.known[at+i] = v.data[i], v.known[i]
		}
	}
}

func (e *evaluation) meta(data []byte) {
	to := numberOf(data, unix.NFTA_META_DREG)
	if to == 0 {
		return // it sets something
	}
	p, v := e.packet, unknown(16)
	switch numberOf(data, unix.NFTA_META_KEY) {
	case unix.NFT_META_NFPROTO:
		v = known([]byte{pick[byte](p.family(), unix.NFPROTO_IPV4, unix.NFPROTO_IPV6)})
	case unix.NFT_META_L4PROTO:
		if v = unknown(1); p.Protocol != 0 {
			v = known([]byte{byte(p.Protocol)})
		}
	case unix.NFT_META_IIFNAME:
		v = link16(p.In)
	case unix.NFT_META_OIFNAME:
		v = link16(p.Out)
	case unix.NFT_META_MARK:
		v = partly{native(0), native(AcceptMark)}
		if p.Allowed {
			v.data = native(AcceptMark)
		}
	}
	e.load(to, v)
}

func (e *evaluation) payload(data []byte) {
	to := numberOf(data, unix.NFTA_PAYLOAD_DREG)
	if to == 0 {
		return
	}
	at, n := int(numberOf(data, unix.NFTA_PAYLOAD_OFFSET)), int(numberOf(data, unix.NFTA_PAYLOAD_LEN))
	switch numberOf(data, unix.NFTA_PAYLOAD_BASE) {
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		e.load(to, e.packet.header().slice(at, n))
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		e.load(to, e.packet.transport().slice(at, n))
		for i := range 2 {
			if begin := registerAt(to) + portAt - at + i; at <= portAt && portAt+2 <= at+n && begin < len(e.ports) {
				e.ports[begin] = true
			}
		}
	default:
		e.load(to, unknown(16))
	}
}

func (e *evaluation) ct(data []byte) {
	to, v := numberOf(data, unix.NFTA_CT_DREG), unknown(16)
	switch numberOf(data, unix.NFTA_CT_KEY) {
	case unix.NFT_CT_STATE:
		v = known(native(stateNew))
	case unix.NFT_CT_STATUS:
		const ipsSNAT = 1 << 4 // IPS_SRC_NAT: the translation isn't known
		v = partly{native(0), native(^uint32(ipsSNAT))}
		if e.packet.DNAT {
			v.data = native(ctDNAT)
		}
	}
	if to != 0 {
		e.load(to, v)
	}
}

func (e *evaluation) bitwise(data []byte) {
	n := int(numberOf(data, unix.NFTA_BITWISE_LEN))
	v := e.values.slice(registerAt(numberOf(data, unix.NFTA_BITWISE_SREG)), n)
	mask, xor := nestedValue(data, unix.NFTA_BITWISE_MASK), nestedValue(data, unix.NFTA_BITWISE_XOR)
	out := unknown(n)
	for i := range n {
		if i < len(mask) && i < len(xor) {
			out.data[i], out.known[i] = v.data[i]&mask[i]^xor[i], v.known[i]|^mask[i]
		}
	}
	e.load(numberOf(data, unix.NFTA_BITWISE_DREG), out)
}

// nestedValue is the value in an attribute of values.
func nestedValue(data []byte, kind int) []byte {
	d, _ := attribute(data, kind)
	v, _ := attribute(d, unix.NFTA_DATA_VALUE)
	return v
}

func (e *evaluation) immediate(data []byte) {
	if code, chain, ok := verdict(data); ok {
		e.decide(code, chain)
		return
	}
	if v := nestedValue(data, unix.NFTA_IMMEDIATE_DATA); v != nil {
		e.load(numberOf(data, unix.NFTA_IMMEDIATE_DREG), known(bytes.Clone(v)))
	}
}

func (e *evaluation) decide(code int32, chain string) {
	switch code {
	case 0: // NF_DROP
		e.does = drops
	case unix.NFT_RETURN:
		e.does = returns
	case unix.NFT_JUMP:
		e.does, e.chain = jumps, chain
	case unix.NFT_GOTO:
		e.does, e.chain = goesTo, chain
	case unix.NFT_CONTINUE, unix.NFT_BREAK:
	default: // NF_ACCEPT, or the unknown decision of a queue's reader
		e.does = accepts
	}
}

func (e *evaluation) compare(data []byte) {
	at := registerAt(numberOf(data, unix.NFTA_CMP_SREG))
	want := nestedValue(data, unix.NFTA_CMP_DATA)
	holds := e.values.slice(at, len(want)).equals(want)
	if len(want) == 0 {
		holds = maybe
	}
	switch numberOf(data, unix.NFTA_CMP_OP) {
	case unix.NFT_CMP_EQ:
		e.port = e.port || holds == yes && e.isPort(at, len(want))
	case unix.NFT_CMP_NEQ:
		holds = yes - holds
	default:
		holds = maybe
	}
	e.and(holds)
}

// isPort reports whether some bytes hold the destination's port.
func (e *evaluation) isPort(at, n int) bool {
	for i := at; i < min(at+n, len(e.ports)); i++ {
		if e.ports[i] {
			return true
		}
	}
	return false
}

func (e *evaluation) lookUp(data []byte) {
	name, _ := attribute(data, unix.NFTA_LOOKUP_SET)
	s := e.sets(string(bytes.TrimRight(name, "\x00")))
	at := registerAt(numberOf(data, unix.NFTA_LOOKUP_SREG))
	found, holds := s.find(e.values.slice(at, s.keyLen))
	if numberOf(data, unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0 {
		holds = yes - holds
	}
	e.and(holds)
	_, mapped := attributeAt(data, unix.NFTA_LOOKUP_DREG)
	switch {
	case !mapped:
	case s.verdicts && found != nil:
		code, chain, _ := verdictIn(found.data)
		e.port = e.port || s.exact && e.isPort(at, s.keyLen)
		e.decide(code, chain)
	case s.verdicts:
		e.does = accepts // it may be any of them
	default:
		e.load(numberOf(data, unix.NFTA_LOOKUP_DREG), unknown(16))
	}
}

func attributeAt(data []byte, kind int) ([]byte, bool) {
	b, err := attribute(data, kind)
	return b, err == nil && b != nil
}
