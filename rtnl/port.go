// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Port is what a bridge does with one of its links. It can only be set; it's born and dies with [Link].Master.
// It's sent as the link's IFLA_INFO_SLAVE_DATA, which finds the link by index or name and so can follow the
// link's creation in the same batch.
type Port struct {
	// Link is the link's index; 0 means by Name.
	Link int
	Name string
	// Hairpin sends frames back out of the port that they came in by.
	Hairpin Switch
	// Isolated keeps frames from one isolated port to another.
	Isolated Switch
	// Learning takes the senders behind the port into the FDB.
	Learning Switch
	// Flood sends frames to unknown unicast addresses out of the port.
	Flood Switch
	// McastFlood sends multicast that nobody is known to want out of the port.
	McastFlood Switch
}

// portFlags are Port's switches in the order of its fields.
var portFlags = [...]int{
	unix.IFLA_BRPORT_MODE,
	unix.IFLA_BRPORT_ISOLATED,
	unix.IFLA_BRPORT_LEARNING,
	unix.IFLA_BRPORT_UNICAST_FLOOD,
	unix.IFLA_BRPORT_MCAST_FLOOD,
}

func (p *Port) switches() [len(portFlags)]*Switch {
	return [...]*Switch{&p.Hairpin, &p.Isolated, &p.Learning, &p.Flood, &p.McastFlood}
}

func (p Port) encode(b *Batch, v verb) {
	if v != set {
		b.unsupported(v, "port")
		return
	}
	l := Link{Index: p.Link}
	if p.Link == 0 {
		l.Name = p.Name
	}
	l.begin(b, set)
	e := &b.enc
	info := e.nest(unix.IFLA_LINKINFO)
	// The kernel takes no port data without the kind of the master (rtnl_newlink).
	e.str(unix.IFLA_INFO_SLAVE_KIND, "bridge")
	data := e.nest(unix.IFLA_INFO_SLAVE_DATA)
	for i, s := range p.switches() {
		if *s != Unset {
			e.u8(portFlags[i], s.uint8())
		}
	}
	e.endNest(data)
	e.endNest(info)
	b.end()
}

func decodePort(l Link, data []byte) (Object, error) { return portOf(l, data) }

func portOf(l Link, data []byte) (Port, error) {
	p := Port{Link: l.Index, Name: l.Name}
	switches := p.switches()
	a := attrs{rest: data}
	for a.next() {
		for i, typ := range portFlags {
			if a.typ == typ {
				*switches[i] = SwitchOf(a.u8() != 0)
			}
		}
	}
	return p, a.err
}

func (p Port) write(w *words) {
	w.word("port")
	if p.Name != "" {
		w.word(p.Name)
	} else {
		w.word(w.link(p.Link))
	}
	names := [len(portFlags)]string{"hairpin", "isolated", "learning", "flood", "mcast_flood"}
	for i, s := range p.switches() {
		w.toggle(names[i], *s)
	}
}

// A PortVLAN is a VLAN, or a range of them, that a port of a filtering bridge takes part in. It can be created
// and deleted. The kernel refuses neither a VLAN that's there nor one that isn't, and so the range from
// 1 to 4094 deletes all.
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
	spec := e.nest(unix.IFLA_AF_SPEC)
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
