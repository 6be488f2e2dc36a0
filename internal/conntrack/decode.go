// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errMalformed is an answer that no kernel sends.
var errMalformed = errors.New("conntrack: malformed answer from the kernel")

// walk gives each attribute to fn. Wrong lengths are an error.
func walk(b []byte, fn func(kind int, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlAttr {
			return errMalformed
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			return errMalformed
		}
		kind := int(binary.NativeEndian.Uint16(b[2:])) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if err := fn(kind, b[unix.SizeofNlAttr:n]); err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// decodeFlow decodes the part of IPCTNL_MSG_CT_NEW that follows the nfgenmsg.
func decodeFlow(b []byte) (f Flow, protocol uint8, err error) {
	err = walk(b, func(kind int, value []byte) (err error) {
		switch kind {
		case ctaTupleOrig:
			f.tuple = value
			f.Src, f.Dst, protocol, err = decodeTuple(value)
		case ctaTupleReply:
			f.ReplySrc, _, _, err = decodeTuple(value)
		case ctaStatus:
			if len(value) != 4 {
				return errMalformed
			}
			f.Translated = binary.BigEndian.Uint32(value)&statusDestinationNAT != 0
		case ctaZone:
			f.zone = value
		case ctaID:
			f.id = value
		}
		return err
	})
	if err == nil && !f.Dst.IsValid() {
		err = errMalformed
	}
	return f, protocol, err
}

// decodeTuple decodes CTA_TUPLE_ORIG or _REPLY. A protocol without ports has port 0.
func decodeTuple(b []byte) (src, dst netip.AddrPort, protocol uint8, err error) {
	var from, to netip.Addr
	var fromPort, toPort uint16
	err = walk(b, func(kind int, value []byte) error {
		switch kind {
		case ctaTupleIP:
			return walk(value, func(kind int, value []byte) error {
				a, ok := netip.AddrFromSlice(value)
				switch kind {
				case ctaIPv4Src, ctaIPv6Src:
					from = a
				case ctaIPv4Dst, ctaIPv6Dst:
					to = a
				default:
					return nil
				}
				if !ok {
					return errMalformed
				}
				return nil
			})
		case ctaTupleProto:
			return walk(value, func(kind int, value []byte) error {
				switch {
				case kind == ctaProtoNum && len(value) == 1:
					protocol = value[0]
				case kind == ctaProtoSrcPort && len(value) == 2:
					fromPort = binary.BigEndian.Uint16(value)
				case kind == ctaProtoDstPort && len(value) == 2:
					toPort = binary.BigEndian.Uint16(value)
				case kind >= ctaProtoNum && kind <= ctaProtoDstPort:
					return errMalformed
				}
				return nil
			})
		}
		return nil
	})
	return netip.AddrPortFrom(from, fromPort), netip.AddrPortFrom(to, toPort), protocol, err
}
