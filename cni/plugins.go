// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/internal/bandwidth"
	"github.com/swiftcni/swiftcni/internal/device"
	"github.com/swiftcni/swiftcni/internal/dhcp"
	"github.com/swiftcni/swiftcni/internal/firewall"
	"github.com/swiftcni/swiftcni/internal/hostdevice"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/loopback"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/portmap"
	"github.com/swiftcni/swiftcni/internal/roster"
	"github.com/swiftcni/swiftcni/internal/sbr"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/static"
	"github.com/swiftcni/swiftcni/internal/tuning"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/internal/veth"
	"github.com/swiftcni/swiftcni/internal/vrf"
)

// A plugin is what answers to one name. Its verbs are found in its room, by what that makes of a
// configuration.
type plugin struct {
	name  string
	since specversion.Number // the first version that it speaks; the zero one is all
	read  func(*netconf.Network) verbs.Plugin

	reads   netconf.Concern // keys that it judges before it does anything, beside its own
	gives   bool            // addresses, by the key "ipam", which is its own
	deaf    bool            // it has no use for CNI_ARGS, and so no opinion, unless it gives addresses
	prev    bool            // it works on a prevResult, and judges it
	heads   bool            // plugins in its key "chain" follow it
	follows bool            // it can be a member of another's chain
}

// plugins are those that the binary answers to.
var plugins = [...]plugin{
	{name: "bridge", read: veth.ReadBridge, reads: netconf.OfMain | netconf.OfMAC | netconf.OfIPAM | netconf.OfDHCP, heads: true},
	{name: netconf.HostLocal, read: hostlocal.Read, reads: netconf.OfIPAM, gives: true},
	{name: netconf.Static, read: static.Read, reads: netconf.OfIPAM, gives: true},
	{name: netconf.DHCP, read: dhcp.Read, reads: netconf.OfDHCP, gives: true, deaf: true},
	{name: "loopback", read: loopback.Read, deaf: true, prev: true},
	{name: "ptp", read: veth.ReadPtP, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP, heads: true},
	{name: "portmap", read: portmap.Read, deaf: true, prev: true, follows: true},
	{name: "firewall", read: firewall.Read, since: specversion.Number{0, 4, 0}, deaf: true, prev: true, follows: true},
	{name: "bandwidth", read: bandwidth.Read, since: specversion.Number{0, 3, 0}, deaf: true, prev: true, follows: true},
	{name: "sbr", read: sbr.Read, deaf: true, prev: true, follows: true},
	{name: "tuning", read: tuning.Read, prev: true, follows: true},
	{name: "host-device", read: hostdevice.Read, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP, deaf: true},
	{name: "vrf", read: vrf.Read, since: specversion.Number{0, 3, 1}, deaf: true, prev: true, follows: true},
	{name: "macvlan", read: device.ReadMacvlan, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP},
	{name: "ipvlan", read: device.ReadIPVLAN, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP},
	{name: "vlan", read: device.ReadVLAN, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP},
	{name: "dummy", read: device.ReadDummy, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP},
	{name: "tap", read: device.ReadTap, reads: netconf.OfMain | netconf.OfIPAM | netconf.OfDHCP},
}

// findPlugin returns the plugin of a name, or nil.
func findPlugin(name string) *plugin {
	for i := range plugins {
		if plugins[i].name == name {
			return &plugins[i]
		}
	}
	return nil
}

// ipam is the name of a plugin that gives addresses, "" of another. A nil plugin gives none.
func (p *plugin) ipam() string {
	if p == nil || !p.gives {
		return ""
	}
	return p.name
}

// chainable lists the plugins that can be members of a chain.
func chainable() (list []string) {
	for i := range plugins {
		if plugins[i].follows {
			list = append(list, plugins[i].name)
		}
	}
	return list
}

// PluginNames returns the names of the plugins that are built in, in a slice of the caller's. A
// program asks it which of a runtime's calls it can leave to [Call], as package inprocess does, and
// which links to a binary of [Main] to make in a plugin directory.
func PluginNames() []string { return roster.Names() }

// Name returns the name of the plugin that a program is to be, by the path that it was called by:
// its last element, or where that's no plugin's the one that its symbolic links lead to.
func Name(path string) string { return roster.Name(path) }
