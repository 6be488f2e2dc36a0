// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// words prints changes.
type words struct {
	s     *strings.Builder
	ns    []*NetNS
	names map[int]string
}

func (w *words) learn(l Link) {
	if l.Index > 0 && l.Name != "" {
		if w.names == nil {
			w.names = map[int]string{}
		}
		w.names[l.Index] = l.Name
	}
}

// change prints a whole message.
func (w *words) change(m []byte) {
	v, o, err := decodeChange(m)
	if err != nil {
		fmt.Fprintf(w.s, "undecodable message of %d bytes", len(m))
		return
	}
	w.s.WriteString(v.String())
	o.write(w)
}

// word appends words, each after a space.
func (w *words) word(ss ...string) {
	for _, s := range ss {
		w.s.WriteByte(' ')
		w.s.WriteString(s)
	}
}

// number appends a key and a number, unless it's zero.
func (w *words) number(key string, n int) {
	if n != 0 {
		w.word(key, strconv.Itoa(n))
	}
}

// toggle appends a key and "on" or "off", unless it's unset.
func (w *words) toggle(key string, s Switch) {
	switch s {
	case On:
		w.word(key, "on")
	case Off:
		w.word(key, "off")
	}
}

// link returns the name of an index, or the number.
func (w *words) link(index int) string {
	if name, ok := w.names[index]; ok {
		return name
	}
	return strconv.Itoa(index)
}

// path returns the path of the namespace behind a descriptor.
func (w *words) path(ns *NetNS) string {
	for _, known := range w.ns {
		if known.fd == ns.fd && known.path != "" {
			return known.path
		}
	}
	return "fd " + strconv.Itoa(ns.fd)
}

// decodeChange decodes a message of a batch. An error means that no batch made it.
func decodeChange(m []byte) (verb, Object, error) {
	if len(m) < unix.NLMSG_HDRLEN {
		return 0, nil, errShort
	}
	typ, flags, data := binary.NativeEndian.Uint16(m[4:]), binary.NativeEndian.Uint16(m[6:]), m[unix.NLMSG_HDRLEN:]
	var o Object
	var err error
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_SETLINK, unix.RTM_DELLINK:
		o, err = decodeLinkChange(typ, data)
	case unix.RTM_NEWLINKPROP, unix.RTM_DELLINKPROP:
		o, err = decodeAltName(data)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		var a AddrState
		a, err = decodeAddr(data)
		o = a.Addr
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		o, err = decodeRouteChange(data)
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		o, err = decodeNeigh(data)
	case unix.RTM_NEWQDISC, unix.RTM_DELQDISC:
		o, err = decodeQdiscChange(data)
	case unix.RTM_NEWTFILTER, unix.RTM_DELTFILTER:
		o, err = decodeFilterChange(data)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		o, err = decodeRuleChange(data)
	default:
		err = errShort
	}
	if err != nil {
		return 0, nil, err
	}
	return verbOf(typ, flags, o), o, nil
}

// verbOf finds the verb from a message's type and flags.
func verbOf(typ, flags uint16, o Object) verb {
	// Requests come in fours: new, delete, get, set (linux/rtnetlink.h).
	if (typ-unix.RTM_BASE)%4 == 1 {
		return remove
	}
	switch {
	case flags&unix.NLM_F_CREATE == 0:
		if vlan, ok := o.(PortVLAN); ok && vlan.VID != 0 {
			return create
		}
		return set
	case flags&unix.NLM_F_EXCL != 0:
		return create
	case flags&unix.NLM_F_APPEND != 0:
		return appendTo
	case flags&unix.NLM_F_REPLACE != 0:
		return ensure
	}
	if _, ok := o.(Route); ok {
		return prependTo
	}
	return ensure
}
