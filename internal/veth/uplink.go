// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"strconv"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/rtnl"
)

// findUplink looks at the link that leads out of the bridge, before anything is touched: its index,
// or 0 for none, and whether it's a port of the bridge.
func (t bridge) findUplink(conn *rtnl.Conn) (index int, joined bool, _ error) {
	name := t.conf.Bridge.Uplink
	if name == "" {
		return 0, true, nil
	}
	l, err := conn.Link(name)
	if err != nil {
		return 0, false, t.uplinkError(err.Error())
	}
	if l.Master != 0 {
		if own, err := conn.Index(t.conf.Bridge.Name); err != nil || own != l.Master {
			return 0, false, t.uplinkError("it belongs to another link already")
		}
		return l.Index, true, nil
	}
	if l.Kind == "bridge" {
		return 0, false, t.uplinkError("it's a bridge")
	}
	for a, err := range conn.Addrs(l.Index, 0) {
		if err != nil {
			return 0, false, t.uplinkError(err.Error())
		}
		if !a.Prefix.Addr().IsLinkLocalUnicast() {
			return 0, false, t.uplinkError("it has the address " + a.Prefix.String() + ", which the host could no longer use there")
		}
	}
	return l.Index, false, nil
}

func (t bridge) uplinkError(why string) error {
	return fault.Key("uplinkInterface", "uplinkInterface "+strconv.Quote(t.conf.Bridge.Uplink)+": "+why)
}

// join makes the uplink a port of the bridge, and of the VLANs that the containers are in, with
// tags. Those that it's in already stay as they are. Nothing takes it back: the host's other
// containers may need it.
func (t bridge) join(at *attaching, uplink, index int) error {
	if uplink == 0 {
		return nil
	}
	var b rtnl.Batch
	b.Set(rtnl.Link{Index: uplink, Master: index, State: rtnl.Up})
	if err := at.conn.Do(&b); err != nil {
		return t.uplinkError(err.Error())
	}
	k := &t.conf.Bridge
	if !k.FiltersVLANs() {
		return nil
	}
	var in [netconf.MaxVLAN + 1]bool
	for v, err := range at.conn.VLANs(uplink) {
		if err != nil {
			return t.uplinkError(err.Error())
		}
		for id := v.VID; id <= max(v.VID, v.Last); id++ {
			in[id] = true
		}
	}
	b.Reset()
	for _, r := range append([]netconf.VLANs{{First: k.VLAN, Last: k.VLAN}}, k.Trunk...) {
		for id := max(r.First, 1); id <= r.Last; id++ {
			if !in[id] {
				b.Create(rtnl.PortVLAN{Link: uplink, VID: id})
			}
		}
	}
	if b.Len() > 0 {
		if err := at.conn.Do(&b); err != nil {
			return t.uplinkError(err.Error())
		}
	}
	return nil
}
