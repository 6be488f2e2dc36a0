// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// A factsSource tells swiftctl what the network's plugins mean for the host. The name keeps the
// field unexported.
type factsSource = facts.Source

// parsed adds to a network what only an embedder's has.
func (n *Network) parsed() *Network {
	n.factsSource = facts.From(func() []facts.Plugin { return n.addFacts(nil, nil) })
	return n
}

// addFacts adds the network's plugin and those that follow it. within are the capabilities of the
// chain that it's in, if any.
func (n *Network) addFacts(list []facts.Plugin, within map[string]bool) []facts.Plugin {
	f := facts.Plugin{Name: n.conf.Type, Config: n.conf.Input(), InChain: within != nil, Capabilities: within, Delegates: n.conf.Delegates()}
	if within == nil {
		f.Capabilities = n.conf.Capabilities()
	}
	if n.conf.IPAM.Plugin == netconf.HostLocal {
		f.LeaseDir = n.conf.IPAM.DataDir
		for _, set := range n.conf.IPAM.Sets {
			for _, r := range set {
				f.Ranges = append(f.Ranges, facts.Range{Subnet: r.Subnet, First: r.Start, Last: r.End, Gateway: r.Gateway})
			}
		}
	}
	if room, ok := n.room.(verbs.Teller); ok {
		room.Tell(&f)
	}
	list = append(list, f)
	for _, m := range n.members {
		if m.network == nil {
			continue
		}
		of := f.Capabilities
		if m.network.listed {
			of = nil
		}
		list = m.network.addFacts(list, of)
	}
	return list
}
