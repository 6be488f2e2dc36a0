// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
)

// errMalformed is a reply that no kernel sends.
var errMalformed = errors.New("nft: malformed reply from the kernel")

// genMessageLen is the size of struct nfgenmsg (linux/netfilter/nfnetlink.h).
const genMessageLen = 4

// Attributes are walked by these two lines:
//
//	for as := (attributes{rest: b}); as.next(); { switch as.kind { … as.value … } }
//
// Unknown ones are skipped. A wrong length ends the walk, with err set.
type attributes struct {
	rest  []byte
	kind  int
	value []byte
	err   error
}

func (a *attributes) next() bool {
	if len(a.rest) == 0 {
		return false
	}
	if len(a.rest) < unix.SizeofNlAttr {
		a.err = errMalformed
		return false
	}
	n := int(binary.NativeEndian.Uint16(a.rest))
	if n < unix.SizeofNlAttr || n > len(a.rest) {
		a.err = errMalformed
		return false
	}
	a.kind = int(binary.NativeEndian.Uint16(a.rest[2:])) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
	a.value = a.rest[unix.SizeofNlAttr:n]
	a.rest = a.rest[min((n+3)&^3, len(a.rest)):]
	return true
}

// text is the value as a string, without the zero byte that ends it.
func (a *attributes) text() string {
	s, _, _ := bytes.Cut(a.value, []byte{0})
	return string(s)
}

// attribute returns the value of the first attribute of a kind, or nil if there is none.
func attribute(b []byte, kind int) ([]byte, error) {
	as := attributes{rest: b}
	for as.next() {
		if as.kind == kind {
			return as.value, nil
		}
	}
	return nil, as.err
}

// decodeReply decodes the answer to a look-up.
func decodeReply(m netlink.Message) (reply, error) {
	if m.Header.Type == netlink.Error {
		errno, _ := nlsock.Answer(m)
		if errno == 0 {
			return reply{}, errMalformed
		}
		return reply{errno: errno}, nil
	}
	if len(m.Data) < genMessageLen {
		return reply{}, errMalformed
	}
	return reply{data: bytes.Clone(m.Data[genMessageLen:])}, nil
}

// decodeGeneration decodes NFT_MSG_NEWGEN.
func decodeGeneration(b []byte) (uint32, error) {
	v, err := attribute(b, unix.NFTA_GEN_ID)
	if err != nil || len(v) != 4 {
		return 0, errMalformed
	}
	return binary.BigEndian.Uint32(v), nil
}

// decodeElements gives each element of NFT_MSG_NEWSETELEM.
func decodeElements(b []byte, s set, each func(element)) error {
	list, err := attribute(b, unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	if err != nil {
		return err
	}
	as := attributes{rest: list}
	for as.next() {
		if as.kind != unix.NFTA_LIST_ELEM {
			continue
		}
		e, err := decodeElement(as.value, s)
		if err != nil {
			return err
		}
		each(e)
	}
	return as.err
}

func decodeElement(b []byte, s set) (element, error) {
	e := element{set: s}
	as := attributes{rest: b}
	for as.next() {
		switch as.kind {
		case unix.NFTA_SET_ELEM_KEY:
			key, err := attribute(as.value, unix.NFTA_DATA_VALUE)
			if err != nil {
				return e, err
			}
			e.key = bytes.Clone(key)
		case unix.NFTA_SET_ELEM_DATA:
			data, err := attribute(as.value, unix.NFTA_DATA_VALUE)
			if err != nil {
				return e, err
			}
			e.data = bytes.Clone(data)
		case unix.NFTA_SET_ELEM_USERDATA:
			e.comment = comment(as.value)
		}
	}
	if as.err == nil && len(e.key) != s.key.len() {
		return e, errMalformed
	}
	return e, as.err
}

// comment finds the comment in the userdata of a rule or an element. Userdata is a list of type,
// length and value, one byte each for the first two, and type 0 is the comment (libnftnl/udata.h).
// It's opaque to the kernel, so any program may have put anything there. Anything but such a list
// has no comment.
func comment(userdata []byte) string {
	for len(userdata) >= 2 {
		n := 2 + int(userdata[1])
		if n > len(userdata) {
			return ""
		}
		if userdata[0] == 0 {
			text, _, _ := bytes.Cut(userdata[2:n], []byte{0})
			return string(text)
		}
		userdata = userdata[n:]
	}
	return ""
}

// A listedRule is a rule as the kernel lists it.
type listedRule struct {
	handle  uint64
	comment string
	exprs   []byte // NFTA_RULE_EXPRESSIONS, valid until the next receive
}

// decodeRule decodes NFT_MSG_NEWRULE.
func decodeRule(b []byte) (listedRule, error) {
	var r listedRule
	as := attributes{rest: b}
	for as.next() {
		switch as.kind {
		case unix.NFTA_RULE_HANDLE:
			if len(as.value) != 8 {
				return r, errMalformed
			}
			r.handle = binary.BigEndian.Uint64(as.value)
		case unix.NFTA_RULE_USERDATA:
			r.comment = comment(as.value)
		case unix.NFTA_RULE_EXPRESSIONS:
			r.exprs = as.value
		}
	}
	return r, as.err
}
