// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errShort is the error for a message, or for a known attribute, that is cut short.
var errShort = errors.New("rtnl: message from the kernel is cut short")

// attrs walks over attributes. Values are parts of the walked slice. Lengths are checked only here.
// Callers skip attributes that they don't know, since newer kernels send more.
type attrs struct {
	rest []byte
	typ  int    // without the flag bits
	val  []byte // without header and padding
	err  error  // a wrong length, or the first value of a wrong size
}

func (a *attrs) next() bool {
	if a.err != nil || len(a.rest) == 0 {
		return false
	}
	if len(a.rest) < unix.NLA_HDRLEN {
		a.err = errShort
		return false
	}
	n := int(binary.NativeEndian.Uint16(a.rest))
	if n < unix.NLA_HDRLEN || n > len(a.rest) {
		a.err = errShort
		return false
	}
	a.typ = int(binary.NativeEndian.Uint16(a.rest[2:]) & ^uint16(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER))
	a.val = a.rest[unix.NLA_HDRLEN:n:n]
	a.rest = a.rest[min((n+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(a.rest)):]
	return true
}

// need tells whether the value has n bytes, and remembers the error if not.
func (a *attrs) need(n int) bool {
	if len(a.val) < n {
		a.err = errShort
		return false
	}
	return true
}

func (a *attrs) u8() uint8 {
	if !a.need(1) {
		return 0
	}
	return a.val[0]
}

func (a *attrs) u16() uint16 {
	if !a.need(2) {
		return 0
	}
	return binary.NativeEndian.Uint16(a.val)
}

func (a *attrs) u32() uint32 {
	if !a.need(4) {
		return 0
	}
	return binary.NativeEndian.Uint32(a.val)
}

// str returns the value up to its first zero byte.
func (a *attrs) str() string {
	for i, c := range a.val {
		if c == 0 {
			return string(a.val[:i])
		}
	}
	return string(a.val)
}

// bytes returns a copy, or nil of an empty value.
func (a *attrs) bytes() []byte { return append([]byte(nil), a.val...) }

// addr returns the value as an address of 4 or 16 bytes.
func (a *attrs) addr() netip.Addr {
	addr, ok := netip.AddrFromSlice(a.val)
	if !ok {
		a.err = errShort
	}
	return addr
}

// nested returns a walk over the value. Its error must be taken back by [attrs.took].
func (a *attrs) nested() attrs { return attrs{rest: a.val} }

// took ends a walk over a nested value.
func (a *attrs) took(inner *attrs) {
	if a.err == nil {
		a.err = inner.err
	}
}

func nativeUint16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }
