// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strconv"

	"golang.org/x/sys/unix"
)

// legacyEntry is a rule of iptables-legacy: struct ipt_entry or ip6t_entry, its matches and its
// target (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h).
type legacyEntry struct {
	family  portFamily
	at      int // its place in the table
	head    []byte
	matches []byte
	target  string
	info    []byte // the target's
	next    int    // the place after it
}

// Sizes of struct xt_entry_match and xt_entry_target, and their parts.
const (
	xtHeadLen  = 32
	xtNameAt   = 2
	xtNameLen  = 29
	xtRevision = 31
)

// from ranges over the entries from a place on. An entry that makes no sense ends it.
func (t *LegacyTable) from(at int) iter.Seq[legacyEntry] {
	fixed, offsets := pick(t.family, 112, 168), pick(t.family, 88, 140)
	return func(yield func(legacyEntry) bool) {
		for at >= 0 && at+fixed <= len(t.entries) {
			b := t.entries[at:]
			target := int(binary.NativeEndian.Uint16(b[offsets:]))
			next := int(binary.NativeEndian.Uint16(b[offsets+2:]))
			if target < fixed || target+xtHeadLen > next || next > len(b) {
				return
			}
			e := legacyEntry{family: t.family, at: at, head: b[:fixed], matches: b[fixed:target], target: xtName(b[target:]),
				info: b[target+xtHeadLen : next], next: at + next}
			if !yield(e) {
				return
			}
			at += next
		}
	}
}

func xtName(head []byte) string {
	name, _, _ := bytes.Cut(head[xtNameAt:xtNameAt+xtNameLen], []byte{0})
	return string(name)
}

// step is the entry as a packet meets it.
func (e *legacyEntry) step(p *Packet) step {
	s := step{match: e.matchesHead(p), does: xtTarget(e.target)}
	for m := e.matches; len(m) >= xtHeadLen; {
		n := int(binary.NativeEndian.Uint16(m))
		if n < xtHeadLen || n > len(m) {
			break
		}
		holds, port := p.xtMatch(xtName(m), uint32(m[xtRevision]), m[xtHeadLen:n])
		s.match, s.port = min(s.match, holds), s.port || port
		m = m[n:]
	}
	if e.target == "" && len(e.info) >= 4 {
		e.standard(&s, int(int32(binary.NativeEndian.Uint32(e.info))))
	}
	return s
}

// standard is the action of the target without a name: a verdict, which is negative, or a place to
// go to.
func (e *legacyEntry) standard(s *step, verdict int) {
	// IPT_F_GOTO, IP6T_F_GOTO
	goes := e.head[pick(e.family, 82, 131)]&pick[byte](e.family, 2, 4) != 0
	switch {
	case verdict >= 0 && verdict == e.next:
		s.does = goesOn
	case verdict >= 0 && goes:
		s.does, s.chain = goesTo, strconv.Itoa(verdict)
	case verdict >= 0:
		s.does, s.chain = jumps, strconv.Itoa(verdict)
	case verdict == -1: // NF_DROP
		s.does = drops
	case verdict == -5: // XT_RETURN
		s.does = returns
	default:
		s.does = accepts
	}
}

// Inversions of conditions (IPT_INV_*, IP6T_INV_*).
const (
	invIn       = 1
	invOut      = 2
	invSource   = 8
	invDest     = 16
	invProtocol = 64
)

// matchesHead compares addresses, links and protocol: struct ipt_ip and ip6t_ip6.
func (e *legacyEntry) matchesHead(p *Packet) likelihood {
	n := pick(e.family, 4, 16)
	part := func(at, n int) []byte { return e.head[at : at+n] }
	links := 4 * n
	inv := e.head[pick(e.family, 83, 132)]
	header := p.header()
	result := inverted(masked16(header.slice(pick(e.family, 12, 8), n), part(0, n), part(2*n, n)), inv&invSource != 0)
	result = min(result, inverted(masked16(header.slice(pick(e.family, 16, 24), n), part(n, n), part(3*n, n)), inv&invDest != 0))
	const l = unix.IFNAMSIZ
	result = min(result, inverted(masked16(link16(p.In), part(links, l), part(links+2*l, l)), inv&invIn != 0))
	result = min(result, inverted(masked16(link16(p.Out), part(links+l, l), part(links+3*l, l)), inv&invOut != 0))
	if want := binary.NativeEndian.Uint16(part(links+4*l, 2)); want != 0 {
		holds := maybe
		if p.Protocol != 0 {
			holds = likely(uint16(p.Protocol) == want)
		}
		result = min(result, inverted(holds, inv&invProtocol != 0))
	}
	return result
}

// masked16 compares those bits of a value that are set in a mask.
func masked16(v partly, want, mask []byte) likelihood {
	b := unknown(len(want))
	for i := range want {
		b.data[i], b.known[i] = v.data[i]&mask[i], v.known[i]|^mask[i]
	}
	return b.equals(want)
}

func inverted(l likelihood, is bool) likelihood {
	if is {
		return yes - l
	}
	return l
}
