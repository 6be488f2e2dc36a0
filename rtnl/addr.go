// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Scope is how far an address or a route is valid (RT_SCOPE_*, linux/rtnetlink.h).
type Scope uint8

// Scopes. Zero, the kernel's own default, is global.
const (
	ScopeGlobal Scope = unix.RT_SCOPE_UNIVERSE
	ScopeSite   Scope = unix.RT_SCOPE_SITE
	ScopeLink   Scope = unix.RT_SCOPE_LINK
	ScopeHost   Scope = unix.RT_SCOPE_HOST
)

func (s Scope) String() string {
	switch s {
	case ScopeGlobal:
		return "global"
	case ScopeSite:
		return "site"
	case ScopeLink:
		return "link"
	case ScopeHost:
		return "host"
	}
	return strconv.Itoa(int(s))
}

// An Addr is an address on a link. An IPv4 address of a prefix shorter than /31 is given its
// broadcast address, the last of the prefix. Link and Prefix identify it.
type Addr struct {
	// Link is the link's index.
	Link int
	// Prefix is the address and the length of its on-link prefix.
	Prefix netip.Prefix
	// Peer is the address at the other end of a point-to-point link, if there is one.
	Peer netip.Addr
	// Scope is ignored for IPv6, where the address itself tells.
	Scope Scope
	// NoDAD takes an IPv6 address into use without looking for duplicates (IFA_F_NODAD).
	NoDAD bool
}

// An AddrState is an address as the kernel describes it. Its Addr can be sent again, and it can't
// itself.
type AddrState struct {
	Addr
	answer

	// Tentative says that duplicate address detection is under way, and that the address isn't used
	// yet.
	Tentative bool
	// DADFailed says that a duplicate was seen. The address stays tentative for good.
	DADFailed bool
	// Permanent says that the address doesn't expire.
	Permanent bool
}

func (a Addr) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWADDR)
	switch v {
	case set:
		b.unsupported(v, "address")
		return
	case remove:
		typ = unix.RTM_DELADDR
	}
	b.begin(typ, v.flags())
	local := a.Prefix.Addr()
	family := familyOf(local)
	if family == unix.AF_UNSPEC {
		b.fail(syscall.EINVAL, "an address without a prefix")
	}
	// struct ifaddrmsg (linux/if_addr.h). All flags are in the attribute, which has room for more.
	e := &b.enc
	e.fixed(family, uint8(max(a.Prefix.Bits(), 0)), 0, uint8(a.Scope))
	e.fixed32(uint32(a.Link))
	if family != unix.AF_UNSPEC {
		a.attributes(e, v)
	}
	b.end()
}

func (a *Addr) attributes(e *encoder, v verb) {
	local := a.Prefix.Addr()
	e.addr(unix.IFA_LOCAL, local)
	if a.Peer.IsValid() {
		e.addr(unix.IFA_ADDRESS, a.Peer)
	} else {
		e.addr(unix.IFA_ADDRESS, local)
	}
	if v == remove {
		return
	}
	if local.Is4() && a.Prefix.Bits() < 31 {
		e.addr(unix.IFA_BROADCAST, broadcast(a.Prefix))
	}
	if a.NoDAD {
		e.u32(unix.IFA_FLAGS, unix.IFA_F_NODAD)
	}
}

// broadcast returns the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	host := binary.BigEndian.Uint32(a[:]) | ^uint32(0)>>p.Bits()
	binary.BigEndian.PutUint32(a[:], host)
	return netip.AddrFrom4(a)
}

// familyOf returns AF_INET or AF_INET6, or AF_UNSPEC of the zero Addr.
func familyOf(a netip.Addr) uint8 {
	switch {
	case a.Is4():
		return unix.AF_INET
	case a.Is6():
		return unix.AF_INET6
	}
	return unix.AF_UNSPEC
}

func decodeAddr(b []byte) (AddrState, error) {
	var a AddrState
	if len(b) < unix.SizeofIfAddrmsg {
		return a, errShort
	}
	bits, flags := int(b[1]), uint32(b[2])
	a.Scope, a.Link = Scope(b[3]), int(int32(binary.NativeEndian.Uint32(b[4:])))
	var local, address netip.Addr
	at := attrs{rest: b[unix.SizeofIfAddrmsg:]}
	for at.next() {
		switch at.typ {
		case unix.IFA_LOCAL:
			local = at.addr()
		case unix.IFA_ADDRESS:
			address = at.addr()
		case unix.IFA_FLAGS:
			flags = at.u32()
		}
	}
	// IPv6 answers have only IFA_ADDRESS, unless there is a peer.
	if !local.IsValid() {
		local = address
	}
	if address != local {
		a.Peer = address
	}
	a.Prefix = netip.PrefixFrom(local, bits)
	a.NoDAD = flags&unix.IFA_F_NODAD != 0
	a.Tentative = flags&unix.IFA_F_TENTATIVE != 0
	a.DADFailed = flags&unix.IFA_F_DADFAILED != 0
	a.Permanent = flags&unix.IFA_F_PERMANENT != 0
	if at.err == nil && !a.Prefix.IsValid() {
		at.err = errShort
	}
	return a, at.err
}

func (a Addr) write(w *words) {
	w.word("address", a.Prefix.String())
	if a.Peer.IsValid() {
		w.word("peer", a.Peer.String())
	}
	if a.Scope != ScopeGlobal {
		w.word("scope", a.Scope.String())
	}
	w.word("dev", w.link(a.Link))
	if a.NoDAD {
		w.word("nodad")
	}
}
