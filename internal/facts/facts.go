// SPDX-License-Identifier: Apache-2.0

// Package facts describes a configuration for swiftctl, so that the tool reads none by itself.
//
// A network of package cni tells its facts to [Of] alone. Its own package exports nothing for that,
// since no embedder needs them.
package facts

import "net/netip"

// A Plugin is one plugin of a network, with those parts of the host's state that follow from its
// configuration.
type Plugin struct {
	Name    string // key "type"
	InChain bool   // it's in the key "chain" of the plugin before
	Config  []byte // as the plugin gets it, with the keys of its list or chain
	// Capabilities are what a runtime may set. Those of a chain are its first plugin's.
	Capabilities map[string]bool

	Bridge  string // of the plugin bridge
	Gateway bool   // the container's gateway is the host
	// Gateways are the addresses that the bridge should have, with their subnets' lengths. In a
	// VLAN there are none.
	Gateways []netip.Prefix
	// Masquerade is of IPv4 addresses, Masquerade6 of IPv6 ones.
	Masquerade, Masquerade6 bool
	Outbound                [2]netip.Addr // what masqueraded traffic gets by IPv4 and by IPv6; the zero Addr is none
	SpoofCheck              bool

	LeaseDir  string // where host-local's leases are, if host-local gives the addresses
	Ranges    []Range
	Delegates bool // another program gives the addresses

	Zone     string // firewalld's, of the plugin firewall
	SavedDir string // where the plugin tuning saves the former attributes
}

// A Range is one of those from which host-local gives addresses. The gateway is never given.
type Range struct {
	Subnet               netip.Prefix
	First, Last, Gateway netip.Addr
}

// A Source is a field that its struct embeds, and makes the struct one that [Of] can ask. The zero
// Source knows nothing.
type Source struct{ tell func() []Plugin }

// From is the source that a function is asked for.
func From(tell func() []Plugin) Source { return Source{tell} }

// facts can't be called from another package, but is found in another's struct.
func (s Source) facts() []Plugin {
	if s.tell == nil {
		return nil
	}
	return s.tell()
}

// Of returns what a network's plugins mean for the host, in the order in which they attach.
func Of(network interface{ facts() []Plugin }) []Plugin { return network.facts() }
