// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An encoder appends netlink messages to one growing buffer. Attributes carry the host's byte order
// and are padded to four bytes (linux/netlink.h); nests are patched with their length when they
// end.
type encoder struct {
	buf []byte
}

// begin appends a message header, whose length [encoder.end] fills in, and returns its offset.
// The sequence and port number stay zero until the message is sent.
func (e *encoder) begin(typ, flags uint16) int {
	off := len(e.buf)
	e.buf = binary.NativeEndian.AppendUint32(e.buf, 0)
	e.buf = binary.NativeEndian.AppendUint16(e.buf, typ)
	e.buf = binary.NativeEndian.AppendUint16(e.buf, flags)
	e.buf = append(e.buf, 0, 0, 0, 0, 0, 0, 0, 0)
	return off
}

// end fills in the length of the message at off.
func (e *encoder) end(off int) {
	binary.NativeEndian.PutUint32(e.buf[off:], uint32(len(e.buf)-off))
}

// fixed appends a part of a message's fixed header.
func (e *encoder) fixed(b ...byte) { e.buf = append(e.buf, b...) }

func (e *encoder) fixed32(v uint32) { e.buf = binary.NativeEndian.AppendUint32(e.buf, v) }

func (e *encoder) attr(typ, length int) {
	e.buf = binary.NativeEndian.AppendUint16(e.buf, uint16(unix.NLA_HDRLEN+length))
	e.buf = binary.NativeEndian.AppendUint16(e.buf, uint16(typ))
}

func (e *encoder) pad() {
	for len(e.buf)%unix.NLA_ALIGNTO != 0 {
		e.buf = append(e.buf, 0)
	}
}

func (e *encoder) u8(typ int, v uint8) {
	e.attr(typ, 1)
	e.buf = append(e.buf, v)
	e.pad()
}

func (e *encoder) u16(typ int, v uint16) {
	e.attr(typ, 2)
	e.buf = binary.NativeEndian.AppendUint16(e.buf, v)
	e.pad()
}

func (e *encoder) u32(typ int, v uint32) {
	e.attr(typ, 4)
	e.buf = binary.NativeEndian.AppendUint32(e.buf, v)
}

func (e *encoder) bytes(typ int, v []byte) {
	e.attr(typ, len(v))
	e.buf = append(e.buf, v...)
	e.pad()
}

// str appends a string with its terminating zero, as iproute2 sends names.
func (e *encoder) str(typ int, v string) {
	e.attr(typ, len(v)+1)
	e.buf = append(e.buf, v...)
	e.buf = append(e.buf, 0)
	e.pad()
}

// addr appends an address as its 4 or 16 bytes.
func (e *encoder) addr(typ int, a netip.Addr) {
	if a.Is4() {
		b := a.As4()
		e.bytes(typ, b[:])
		return
	}
	b := a.As16()
	e.bytes(typ, b[:])
}

// nest begins an attribute that holds others and returns its offset for [encoder.endNest].
func (e *encoder) nest(typ int) int {
	off := len(e.buf)
	e.attr(typ|unix.NLA_F_NESTED, 0)
	return off
}

// plainNest is nest without NLA_F_NESTED, for attributes that the kernel and iproute2 never marked
// with it.
func (e *encoder) plainNest(typ int) int {
	off := len(e.buf)
	e.attr(typ, 0)
	return off
}

func (e *encoder) endNest(off int) {
	binary.NativeEndian.PutUint16(e.buf[off:], uint16(len(e.buf)-off))
}
