// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A PortVLAN is a VLAN, or a range of them, that a port of a filtering bridge takes part in. It can
// be created and deleted. The kernel refuses neither the creation of a VLAN that exists nor the
// deletion of one that doesn't. So the range from 1 to 4094 deletes all.
type PortVLAN struct {
	// Link is the port's index.
	Link int
	// VID is the VLAN's number, 1 to 4094.
	VID int
	// Last ends a range that starts at VID; 0 is VID alone.
	Last int
	// PVID makes it the VLAN of frames that arrive without a tag.
	PVID bool
	// Untagged sends its frames without a tag.
	Untagged bool
}

// From linux/if_bridge.h.
const (
	iflaBridgeVLANInfo = 2 // IFLA_BRIDGE_VLAN_INFO

	vlanPVID       = 1 << 1 // BRIDGE_VLAN_INFO_PVID
	vlanUntagged   = 1 << 2 // BRIDGE_VLAN_INFO_UNTAGGED
	vlanRangeBegin = 1 << 3 // BRIDGE_VLAN_INFO_RANGE_BEGIN
	vlanRangeEnd   = 1 << 4 // BRIDGE_VLAN_INFO_RANGE_END
	vlanInfoLen    = 4      // struct bridge_vlan_info: flags, vid
	vlanRanges     = 1 << 2 // RTEXT_FILTER_BRVLAN_COMPRESSED (linux/rtnetlink.h)
)

func (p PortVLAN) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_SETLINK)
	switch v {
	case set, ensure:
		b.unsupported(v, "vlan")
		return
	case remove:
		typ = unix.RTM_DELLINK
	}
	b.begin(typ, remove.flags())
	if p.VID < 1 || p.VID > 4094 || p.Last > 4094 || p.Last != 0 && p.Last < p.VID {
		b.fail(syscall.ERANGE, "VLANs are numbered from 1 to 4094")
	}
	l := Link{Index: p.Link}
	l.header(b, unix.AF_BRIDGE)
	var flags uint16
	if p.PVID {
		flags |= vlanPVID
	}
	if p.Untagged {
		flags |= vlanUntagged
	}
	e := &b.enc
	spec := e.plainNest(unix.IFLA_AF_SPEC)
	if p.Last != 0 {
		vlanInfo(e, flags|vlanRangeBegin, p.VID)
		vlanInfo(e, flags|vlanRangeEnd, p.Last)
	} else {
		vlanInfo(e, flags, p.VID)
	}
	e.endNest(spec)
	b.end()
}

func vlanInfo(e *encoder, flags uint16, vid int) {
	e.attr(iflaBridgeVLANInfo, vlanInfoLen)
	e.buf = binary.NativeEndian.AppendUint16(e.buf, flags)
	e.buf = binary.NativeEndian.AppendUint16(e.buf, uint16(vid))
}

func decodePortVLAN(b []byte) (Object, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, errShort
	}
	p := PortVLAN{Link: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	a := attrs{rest: b[unix.SizeofIfInfomsg:]}
	for a.next() {
		if a.typ != unix.IFLA_AF_SPEC {
			continue
		}
		spec := a.nested()
		for spec.next() {
			if spec.typ == iflaBridgeVLANInfo && spec.need(vlanInfoLen) {
				p.info(spec.val)
			}
		}
		a.took(&spec)
	}
	return p, a.err
}

// info reads a struct bridge_vlan_info.
func (p *PortVLAN) info(b []byte) {
	flags, vid := binary.NativeEndian.Uint16(b), int(binary.NativeEndian.Uint16(b[2:]))
	if flags&vlanRangeEnd != 0 {
		p.Last = vid
		return
	}
	p.VID = vid
	p.PVID, p.Untagged = flags&vlanPVID != 0, flags&vlanUntagged != 0
}

func (p PortVLAN) write(w *words) {
	vid := strconv.Itoa(p.VID)
	if p.Last != 0 {
		vid += "-" + strconv.Itoa(p.Last)
	}
	w.word("vlan", vid, "dev", w.link(p.Link))
	if p.PVID {
		w.word("pvid")
	}
	if p.Untagged {
		w.word("untagged")
	}
}

// From linux/rtnetlink.h and linux/if_bridge.h.
const (
	rtmGetVLAN       = 114 // RTM_GETVLAN
	bridgeVLANDBItem = 1   // BRIDGE_VLANDB_ENTRY
	vlanDBInfo       = 1   // BRIDGE_VLANDB_ENTRY_INFO
	vlanDBRange      = 2   // BRIDGE_VLANDB_ENTRY_RANGE
	vlanMessageLen   = 8   // struct br_vlan_msg: family, padding, link
)

// decodeVLANs decodes an RTM_NEWVLAN.
func decodeVLANs(b []byte, add func(PortVLAN)) error {
	if len(b) < vlanMessageLen {
		return errShort
	}
	link := int(int32(binary.NativeEndian.Uint32(b[4:])))
	a := attrs{rest: b[vlanMessageLen:]}
	for a.next() {
		if a.typ != bridgeVLANDBItem {
			continue
		}
		p := PortVLAN{Link: link}
		entry := a.nested()
		for entry.next() {
			switch entry.typ {
			case vlanDBInfo:
				if entry.need(vlanInfoLen) {
					p.info(entry.val)
				}
			case vlanDBRange:
				p.Last = int(entry.u16())
			}
		}
		a.took(&entry)
		if a.err == nil {
			add(p)
		}
	}
	return a.err
}

// decodeLinkVLANs decodes the VLANs that an RTM_NEWLINK of family AF_BRIDGE has, if it's about a port.
func decodeLinkVLANs(b []byte, port int, add func(PortVLAN)) error {
	if len(b) < unix.SizeofIfInfomsg {
		return errShort
	}
	p := PortVLAN{Link: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	if p.Link != port {
		return nil
	}
	a := attrs{rest: b[unix.SizeofIfInfomsg:]}
	for a.next() {
		if a.typ != unix.IFLA_AF_SPEC {
			continue
		}
		spec := a.nested()
		for spec.next() {
			if spec.typ != iflaBridgeVLANInfo || !spec.need(vlanInfoLen) {
				continue
			}
			p.info(spec.val)
			if binary.NativeEndian.Uint16(spec.val)&vlanRangeBegin == 0 {
				add(p)
				p.Last = 0
			}
		}
		a.took(&spec)
	}
	return a.err
}
