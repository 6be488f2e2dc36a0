// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// The masqueraded part of an address's mappings, as the comment says it.
const (
	masqueradesNothing = 'n'
	masqueradesHairpin = 'h'
	masqueradesAll     = 'm'
)

// A publishedAddress is the text behind the owner in the comment of a published address, "/24 3
// h13+ note". It has the subnet's length, the number of mappings, the masqueraded part, the bit of
// the mark, whether others wait for its ports, and the publication's note. The note is left out if
// it's too long for the comment. So the other elements of an owner follow from this one and from
// those of the mappings.
type publishedAddress struct {
	netip.Prefix
	mappings    int
	masquerades rune
	bit         int
	awaited     bool
	note        string
	old         bool // an earlier version's, which has the first two
}

func (v publishedAddress) element(owner string) element {
	text := fmt.Sprintf("%s /%d %d %c%d", owner, v.Bits(), v.mappings, v.masquerades, v.bit)
	if v.awaited {
		text += "+"
	}
	if v.note != "" && len(text)+1+len(v.note) <= maxComment {
		text += " " + v.note
	}
	return element{set: familyOf(v.Addr()).published(), key: v.Addr().AsSlice(), comment: text}
}

// published decodes an element of the set of published addresses.
func (e *element) published() (v publishedAddress, ok bool) {
	addr, ok := netip.AddrFromSlice(e.key)
	fields := strings.Fields(e.comment)
	if !ok || len(fields) < 3 || e.set != familyOf(addr).published() {
		return v, false
	}
	length, err := strconv.Atoi(strings.TrimPrefix(fields[1], "/"))
	n, err2 := strconv.Atoi(fields[2])
	v = publishedAddress{Prefix: netip.PrefixFrom(addr, length), mappings: n, masquerades: masqueradesNothing, bit: usualBit}
	if ok = err == nil && err2 == nil && v.IsValid(); len(fields) == 3 {
		v.old = true
		return v, ok
	}
	text, awaited := strings.CutSuffix(fields[3], "+")
	if len(text) < 2 {
		return v, false
	}
	if len(fields) > 4 {
		v.note = fields[4]
	}
	v.awaited = awaited
	v.masquerades = rune(text[0])
	v.bit, err = strconv.Atoi(text[1:])
	return v, ok && err == nil && v.bit >= 0 && v.bit < 32
}

// elements returns the address's own.
func (v publishedAddress) elements(owner string) []element {
	es := []element{v.element(owner)}
	if s, ok := v.set(); ok {
		key := v.Addr().AsSlice()
		if v.masquerades == masqueradesHairpin {
			key = pairKey(v.Prefix)
		}
		es = append(es, element{set: s, key: key, comment: owner})
	}
	return es
}

// set returns the set of addresses that says which part is masqueraded.
func (v publishedAddress) set() (s set, ok bool) {
	f := familyOf(v.Addr())
	switch v.masquerades {
	case masqueradesHairpin:
		return f.hairpin(v.Bits(), v.bit), true
	case masqueradesAll:
		return f.masqAll(v.bit), true
	}
	return s, false
}

// mapping returns the elements of one of the address's mappings.
func (v publishedAddress) mapping(at groupPlace, containerPort uint16, owner string) []element {
	e := at.element()
	e.data, e.comment = targetData(netip.AddrPortFrom(v.Addr(), containerPort)), owner
	es := []element{e}
	if v.masquerades != masqueradesNothing {
		marked := at.snat(v.bit)
		marked.comment = owner
		es = append(es, marked)
	}
	return es
}

// complete returns all elements of an owner, given those of its addresses and mappings. ok is false
// if they aren't all.
func complete(heads []element, addrs []netip.Prefix) (own []element, ok bool) {
	notes := map[netip.Addr]*publishedAddress{}
	for _, e := range heads {
		v, ok := e.published()
		if !ok {
			continue
		}
		if v.old || v.awaited || !slices.Contains(addrs, v.Prefix) {
			return nil, false
		}
		notes[v.Addr()] = &v
		own = append(own, v.elements(e.owner())...)
	}
	for _, e := range heads {
		at, to, isMapping := e.mapping()
		if !isMapping {
			continue
		}
		v := notes[to.Addr()]
		if v == nil {
			return nil, false
		}
		v.mappings--
		own = append(own, v.mapping(at, to.Port(), e.owner())...)
	}
	for _, v := range notes {
		if v.mappings != 0 {
			return nil, false
		}
	}
	return own, true
}
