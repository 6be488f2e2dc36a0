// SPDX-License-Identifier: Apache-2.0

// Package facts is what package cni tells swiftctl of a configuration, so that the tool needn't
// read any by itself.
package facts

import "net/netip"

// A Plugin is one plugin of a network, and what of the host's state follows from its configuration.
type Plugin struct {
	Name         string          // key "type"
	InChain      bool            // it stands in the key "chain" of the plugin before
	Config       []byte          // as the plugin gets it, with what its list or chain says
	Capabilities map[string]bool // what a runtime may tell it; those of a chain are its first plugin's

	Bridge     string         // of the plugin bridge
	Gateway    bool           // the container's gateway is the host
	Gateways   []netip.Prefix // addresses that the bridge should have, with their subnets' lengths; none in a VLAN
	Masquerade bool
	SpoofCheck bool

	LeaseDir  string // where host-local's leases are, if it's that which gives addresses
	Delegates bool   // addresses are given by another program

	Zone     string // firewalld's, of the plugin firewall
	SavedDir string // where the plugin tuning keeps what was before it
}
