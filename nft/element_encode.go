// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Every attach and detach sends elements, and their messages are simple. So they are encoded here
// in place. The library needs a tenth of a millisecond for that in a plugin, most of it for a
// connection that isn't one.

// elementsPerMessage keeps the list of elements under the 64 KiB that an attribute holds.
const elementsPerMessage = 256

// encodeElements appends a message for each run of elements of one set.
func encodeElements(ms []netlink.Message, kind int, flags netlink.HeaderFlags, es []element) []netlink.Message {
	for len(es) > 0 {
		n := 1
		for n < len(es) && es[n].set == es[0].set && n < elementsPerMessage {
			n++
		}
		ms = append(ms, netlink.Message{
			Header: netlink.Header{Type: messageType(kind), Flags: netlink.Request | flags},
			Data:   elementList(es[:n]),
		})
		es = es[n:]
	}
	return ms
}

// elementList is the payload of NFT_MSG_NEWSETELEM and NFT_MSG_DELSETELEM for elements of one set
// (enum nft_set_elem_list_attributes, linux/netfilter/nf_tables.h).
func elementList(es []element) []byte {
	s := es[0].set
	b := append(make([]byte, 0, 96+80*len(es)), s.table.family, unix.NFNETLINK_V0, 0, 0)
	b = appendText(b, unix.NFTA_SET_ELEM_LIST_SET, s.name)
	b = appendText(b, unix.NFTA_SET_ELEM_LIST_TABLE, s.table.name)
	list := len(b)
	b = appendHeader(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, 0)
	for i, e := range es {
		item := len(b)
		b = appendHeader(b, (i+1)|unix.NLA_F_NESTED, 0)
		b = appendHeader(b, unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, unix.SizeofNlAttr+align(len(e.key)))
		b = appendBytes(b, unix.NFTA_DATA_VALUE, e.key)
		if e.data != nil {
			b = appendHeader(b, unix.NFTA_SET_ELEM_DATA|unix.NLA_F_NESTED, unix.SizeofNlAttr+align(len(e.data)))
			b = appendBytes(b, unix.NFTA_DATA_VALUE, e.data)
		}
		if e.comment != "" {
			// libnftnl's form: kind 0, the length, and the text with a zero byte
			// (libnftnl/udata.h).
			b = appendHeader(b, unix.NFTA_SET_ELEM_USERDATA, 2+len(e.comment)+1)
			b = append(b, 0, byte(len(e.comment)+1))
			b = append(b, e.comment...)
			b = pad(append(b, 0))
		}
		binary.NativeEndian.PutUint16(b[item:], uint16(len(b)-item))
	}
	binary.NativeEndian.PutUint16(b[list:], uint16(len(b)-list))
	return b
}

func appendHeader(b []byte, kind, length int) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+length))
	return binary.NativeEndian.AppendUint16(b, uint16(kind))
}

func appendBytes(b []byte, kind int, v []byte) []byte {
	return pad(append(appendHeader(b, kind, len(v)), v...))
}

func appendText(b []byte, kind int, s string) []byte {
	b = append(appendHeader(b, kind, len(s)+1), s...)
	return pad(append(b, 0))
}

func align(n int) int { return (n + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1) }

func pad(b []byte) []byte {
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}
