// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"golang.org/x/sys/unix"
)

// A Port is a bridge's treatment of one of its links. It can only be set: it's born and dies with
// [Link].Master. It's sent as the link's IFLA_INFO_SLAVE_DATA, which finds the link by index or
// name. So it can follow the link's creation in the same batch.
type Port struct {
	// Link is the link's index.
	Link int
	// Name is the link's name. It counts only if Link is 0.
	Name string
	// Hairpin sends frames back out of the port that they came in by.
	Hairpin Switch
	// Isolated keeps frames from going from one isolated port to another.
	Isolated Switch
	// Learning makes the bridge learn the MACs behind the port into its FDB.
	Learning Switch
	// Flood sends frames to unknown unicast addresses out of the port.
	Flood Switch
	// McastFlood sends multicast without known receivers out of the port.
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
				*switches[i] = OnOff(a.u8() != 0)
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
