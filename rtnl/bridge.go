// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"time"

	"golang.org/x/sys/unix"
)

// userHZ is the clock of the kernel's userspace times (USER_HZ, 100 on every architecture that Go
// runs on).
const userHZ = 100

// A Bridge is a switch made of its ports. Give it a MAC when it's created. Without one it takes the
// lowest MAC of its ports, which changes when they come and go.
type Bridge struct {
	Link
	// VLANFiltering makes the ports obey [PortVLAN]. A kernel without it refuses On (EOPNOTSUPP).
	VLANFiltering Switch
	// AgeingTime is how long a learnt MAC is kept, in steps of 10 ms. The kernel's default is 300
	// s.
	AgeingTime time.Duration
	// McastSnooping keeps multicast from ports that didn't ask for it. The kernel's default is On.
	McastSnooping Switch
	// GroupFwdMask has a bit for each link-local group, 01:80:c2:00:00:00 to 0f, that the bridge
	// forwards. Bits 0 to 2 are refused (EINVAL); 0 leaves it.
	GroupFwdMask uint16
}

func (g Bridge) encode(b *Batch, v verb) {
	if v == remove {
		g.Link.encode(b, v)
		return
	}
	g.Link.begin(b, v)
	e := &b.enc
	info := e.nest(unix.IFLA_LINKINFO)
	e.str(unix.IFLA_INFO_KIND, "bridge")
	// Even when empty: the kernel compares the kind of a link that exists only if there is data.
	data := e.nest(unix.IFLA_INFO_DATA)
	if g.AgeingTime != 0 {
		e.u32(unix.IFLA_BR_AGEING_TIME, uint32(g.AgeingTime/(time.Second/userHZ)))
	}
	if g.VLANFiltering != Unset {
		e.u8(unix.IFLA_BR_VLAN_FILTERING, g.VLANFiltering.uint8())
	}
	if g.McastSnooping != Unset {
		e.u8(unix.IFLA_BR_MCAST_SNOOPING, g.McastSnooping.uint8())
	}
	if g.GroupFwdMask != 0 {
		e.u16(unix.IFLA_BR_GROUP_FWD_MASK, g.GroupFwdMask)
	}
	e.endNest(data)
	e.endNest(info)
	b.end()
}

func bridgeOf(l Link, data []byte) (Bridge, error) {
	g := Bridge{Link: l}
	a := attrs{rest: data}
	for a.next() {
		switch a.typ {
		case unix.IFLA_BR_AGEING_TIME:
			g.AgeingTime = time.Duration(a.u32()) * (time.Second / userHZ)
		case unix.IFLA_BR_VLAN_FILTERING:
			g.VLANFiltering = OnOff(a.u8() != 0)
		case unix.IFLA_BR_GROUP_FWD_MASK:
			g.GroupFwdMask = a.u16()
		case unix.IFLA_BR_MCAST_SNOOPING:
			g.McastSnooping = OnOff(a.u8() != 0)
		}
	}
	return g, a.err
}

func (g Bridge) write(w *words) {
	w.word("bridge")
	g.Link.writeRest(w)
	w.toggle("vlan_filtering", g.VLANFiltering)
	if g.AgeingTime != 0 {
		w.word("ageing_time", g.AgeingTime.String())
	}
	w.toggle("mcast_snooping", g.McastSnooping)
	w.number("group_fwd_mask", int(g.GroupFwdMask))
}
