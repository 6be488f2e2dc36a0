// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Packet is the first of a connection, as far as it's known, on its way from one link to another.
type Packet struct {
	In, Out  string     // links; "" is any
	Src, Dst netip.Addr // the zero Addr is any
	IPv6     bool       // if neither address is known
	Protocol Protocol   // 0 is any
	Port     uint16     // of the destination; 0 is any
	DNAT     bool       // its destination has been translated
	Allowed  bool       // it's from an address that an [Allowance] is for
}

func (p *Packet) family() portFamily {
	for _, a := range [...]netip.Addr{p.Src, p.Dst} {
		if a.IsValid() {
			return familyOf(a)
		}
	}
	if p.IPv6 {
		return family6
	}
	return family4
}

// partly is bytes of which some bits are known.
type partly struct{ data, known []byte }

func unknown(n int) partly { return partly{make([]byte, n), make([]byte, n)} }

func known(b []byte) partly {
	p := partly{b, make([]byte, len(b))}
	for i := range p.known {
		p.known[i] = 0xff
	}
	return p
}

func (b partly) set(at int, data []byte) {
	copy(b.data[at:], data)
	copy(b.known[at:], known(data).known)
}

func (b partly) slice(at, n int) partly {
	if at < 0 || n < 0 || at+n > len(b.data) {
		return unknown(max(n, 0))
	}
	return partly{b.data[at : at+n], b.known[at : at+n]}
}

// equals compares the bits that are known.
func (b partly) equals(want []byte) likelihood {
	result := yes
	for i, w := range want {
		if i >= len(b.data) {
			return maybe
		}
		if (b.data[i]^w)&b.known[i] != 0 {
			return no
		}
		if b.known[i] != 0xff {
			result = maybe
		}
	}
	return result
}

// header is the network layer's header up to the end of its addresses (RFC 791 and RFC 8200).
func (p *Packet) header() partly {
	f := p.family()
	h := unknown(pick(f, 20, 40))
	if p.Src.IsValid() {
		h.set(pick(f, 12, 8), p.Src.AsSlice())
	}
	if p.Dst.IsValid() {
		h.set(pick(f, 16, 24), p.Dst.AsSlice())
	}
	if p.Protocol != 0 {
		h.set(pick(f, 9, 6), []byte{byte(p.Protocol)})
	}
	return h
}

// portAt is the place of the destination's port in the headers of TCP, UDP and SCTP.
const portAt = 2

func (p *Packet) transport() partly {
	h := unknown(20)
	if p.Port != 0 {
		h.set(portAt, []byte{byte(p.Port >> 8), byte(p.Port)})
	}
	return h
}

// link16 is a link's name as rules compare it.
func link16(name string) partly {
	if name == "" {
		return unknown(unix.IFNAMSIZ)
	}
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return known(b)
}

// State of connection tracking, as bits (NF_CT_STATE_BIT, linux/netfilter/nf_conntrack_common.h;
// XT_CONNTRACK_STATE_SNAT and _DNAT, linux/netfilter/xt_conntrack.h).
const (
	stateNew  = 1 << 3
	stateSNAT = 1 << 6
	stateDNAT = 1 << 7
)
