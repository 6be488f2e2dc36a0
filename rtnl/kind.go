// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A kindName is the kind of a link as the kernel calls it.
type kindName string

const (
	macvlan kindName = "macvlan"
	ipvlan  kindName = "ipvlan"
	vlan    kindName = "vlan"
	vrf     kindName = "vrf"
)

// A kindLink is a link of a kind whose options are numbers, as the kernel sees it: [Macvlan],
// [IPVLAN], [VLAN] or [VRF]. One encoder, decoder and printer serve them all, which keeps programs
// small.
type kindLink struct {
	Link
	kind   kindName
	parent int
	// option is the number of attribute 1 of each kind, and 0 if there's none, else more by 1.
	option uint64
	// bcQueueLen is a macvlan's second option.
	bcQueueLen uint32
}

// isWide says that the option has 32 bits, not 16.
func (k *kindLink) isWide() bool { return k.kind == macvlan || k.kind == vrf }

// addKind appends the change of a link. Options are nested even when there are none: the kernel
// compares the kind of a link that exists only if there is data.
func (b *Batch) addKind(v verb, k kindLink) {
	fixed := k.kind == vlan || k.kind == vrf // its options can't be set
	if v == remove || v == set && fixed {
		k.Link.encode(b, v)
		return
	}
	k.Link.begin(b, v)
	e := &b.enc
	if v != set && k.kind != vrf {
		if k.parent <= 0 {
			b.fail(syscall.EINVAL, "a "+string(k.kind)+" needs a parent")
		}
		e.u32(unix.IFLA_LINK, uint32(k.parent))
	}
	if k.kind == vlan && k.option-1 > maxVLAN {
		b.fail(syscall.ERANGE, "a vlan's id is from 0 to 4094")
	}
	info := e.nest(unix.IFLA_LINKINFO)
	e.str(unix.IFLA_INFO_KIND, string(k.kind))
	data := e.nest(unix.IFLA_INFO_DATA)
	switch {
	case k.option == 0:
	case k.isWide():
		e.u32(kindOption, uint32(k.option-1))
	default:
		e.u16(kindOption, uint16(k.option-1))
	}
	if k.bcQueueLen != 0 {
		e.u32(unix.IFLA_MACVLAN_BC_QUEUE_LEN, k.bcQueueLen)
	}
	e.endNest(data)
	e.endNest(info)
	b.end()
}

// kindOption is IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE, IFLA_VLAN_ID and IFLA_VRF_TABLE
// (linux/if_link.h).
const kindOption = 1

// kindLink decodes a link of one of the four kinds.
func (m *linkMessage) kindLink() (kindLink, error) {
	k := kindLink{Link: m.Link, kind: kindName(m.Kind), parent: m.PeerIndex}
	a := attrs{rest: m.data}
	for a.next() {
		switch {
		case a.typ == kindOption && k.isWide():
			k.option = uint64(a.u32()) + 1
		case a.typ == kindOption:
			k.option = uint64(a.u16()) + 1
		case a.typ == unix.IFLA_MACVLAN_BC_QUEUE_LEN && k.kind == macvlan:
			k.bcQueueLen = a.u32()
		}
	}
	return k, a.err
}

// getKind asks for a link of a kind. Missing is the error for one of another.
func (c *Conn) getKind(name string, kind kindName, missing error) (kindLink, error) {
	m, err := c.getLink(0, name)
	switch {
	case err != nil:
		return kindLink{}, err
	case m.Kind != string(kind):
		return kindLink{Link: m.Link}, missing
	}
	return m.kindLink()
}

// write is for what a batch has decoded. The types with names print as it does.
func (k kindLink) write(w *words) {
	w.word(string(k.kind))
	l := k.Link
	l.Kind = ""
	l.writeRest(w)
	if k.parent != 0 {
		w.word("link", w.link(k.parent))
	}
	if k.option != 0 {
		n := uint32(k.option - 1)
		switch k.kind {
		case macvlan:
			w.word("mode", MacvlanMode(n).String())
		case ipvlan:
			w.word("mode", IPVLANMode(n+1).String())
		case vlan:
			w.word("id", strconv.Itoa(int(n)))
		case vrf:
			w.word("table", strconv.FormatUint(uint64(n), 10))
		}
	}
	w.number("bcqueuelen", int(k.bcQueueLen))
}
