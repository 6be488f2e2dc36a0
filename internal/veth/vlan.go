// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"errors"
	"io/fs"
	"net"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/rtnl"
)

// vlanGateway is the link that holds the gateway's addresses in the bridge's VLAN.
func (t bridge) vlanGateway() string {
	return t.conf.Bridge.Name + "." + strconv.Itoa(t.conf.Bridge.VLAN)
}

// ensureVLANGateway makes the VLAN's gateway once: a pair of links in the host's namespace, one end
// a port of the bridge in that VLAN, the other, BRIDGE.VLAN, with the gateway's addresses.
func (t bridge) ensureVLANGateway(at *attaching, bridge int) error {
	name := t.vlanGateway()
	index, err := at.conn.Index(name)
	if fault.Absent(err) {
		if err := t.createVLANGateway(at, bridge, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return fault.Wrap("failed to create vlan gateway "+strconv.Quote(name), err)
		}
		index, err = at.conn.Index(name)
	}
	if err != nil {
		return fault.Wrap("failed to lookup "+strconv.Quote(name), err)
	}
	var b rtnl.Batch
	for _, gw := range at.plan.gateways {
		b.Create(t.gatewayAddr(index, gw))
	}
	added, err := t.sortRefusals(at, at.conn.Do(&b), at.plan.gateways)
	if err == nil && len(added) > 0 {
		err = t.settleGateways(at, index, name, added)
	}
	if err != nil {
		return fault.Wrap("failed to set vlan interface for bridge with addr", err)
	}
	at.tellHost(index)
	return nil
}

// createVLANGateway derives its names as an attachment's are, from an owner that no container can
// have.
func (t bridge) createVLANGateway(at *attaching, bridge int, name string) error {
	k, link := &t.conf.Bridge, &t.conf.Link
	nm := names.Of("", k.Name, name, 0)
	mac := net.HardwareAddr(append([]byte{0xfe}, nm.MAC[1:]...))
	mac[5] ^= 1
	var b rtnl.Batch
	b.Create(rtnl.Veth{
		Link: rtnl.Link{Index: nm.Index, Name: nm.Link, MAC: nm.MAC, MTU: at.mtu, Queues: link.Queues, Master: bridge, State: rtnl.Up},
		Peer: rtnl.Link{Index: nm.Peer, Name: name, MAC: mac, MTU: at.mtu, Queues: link.Queues},
	})
	b.Set(rtnl.Link{Index: nm.Peer, State: rtnl.Up})
	portVLANs(&b, nm.Index, k.VLAN, nil, k.KeepDefaultVLAN)
	if err := at.conn.Do(&b); err != nil {
		return err
	}
	return errors.Join(at.conn.WaitUp(nm.Index, portTimeout), at.conn.WaitUp(nm.Peer, portTimeout))
}

// portVLANs makes a port a member of a VLAN, untagged, and of a trunk's VLANs, tagged.
func portVLANs(b *rtnl.Batch, link, vlan int, trunk []netconf.VLANs, keepDefault bool) {
	if vlan == 0 && len(trunk) == 0 {
		return
	}
	if !keepDefault {
		b.Delete(rtnl.PortVLAN{Link: link, VID: 1, Last: netconf.MaxVLAN})
	}
	for _, r := range trunk {
		v := rtnl.PortVLAN{Link: link, VID: r.First}
		if r.Last > r.First {
			v.Last = r.Last
		}
		b.Create(v)
	}
	native := vlan
	if native == 0 {
		native = 1
	}
	b.Create(rtnl.PortVLAN{Link: link, VID: native, PVID: true, Untagged: true})
}
