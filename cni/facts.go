// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/firewall"
	"github.com/swiftcni/swiftcni/internal/tuning"
)

// Facts tells swiftctl what the network's plugins mean for the host, in the order in which they
// attach. Its type is this module's own, and may change at any time.
func (n *Network) Facts() []facts.Plugin { return n.addFacts(nil, nil) }

// addFacts adds the network's plugin and those that follow it. within are the capabilities of the
// chain that it's in, if any.
func (n *Network) addFacts(list []facts.Plugin, within map[string]bool) []facts.Plugin {
	f := facts.Plugin{Name: n.plugin, Config: n.input(), InChain: within != nil, Capabilities: within, Delegates: n.delegates()}
	if within == nil {
		f.Capabilities = n.capabilities()
	}
	if n.ipam.plugin == hostLocal {
		f.LeaseDir = n.ipam.dataDir
	}
	b := &n.bridge
	switch keys := n.room.(type) {
	case *firewall.Keys:
		f.Zone = keys.Zone()
	case *tuning.Keys:
		f.SavedDir = keys.Dir()
	}
	switch n.plugin {
	case "bridge":
		f.Bridge, f.Gateway, f.Gateways = b.name, b.gateway(), n.bridgeGateways()
		f.Masquerade, f.SpoofCheck = b.ipMasq, b.macSpoofCheck
	case "ptp":
		f.Gateway, f.Masquerade = true, b.ipMasq
	}
	list = append(list, f)
	for _, m := range n.members {
		if m.network == nil {
			continue
		}
		of := f.Capabilities
		if m.network.isListed() {
			of = nil
		}
		list = m.network.addFacts(list, of)
	}
	return list
}

// bridgeGateways are the addresses that the bridge gets by attachments that host-local gives
// addresses.
func (n *Network) bridgeGateways() (list []netip.Prefix) {
	if !n.bridge.gateway() || n.bridge.vlan != 0 || n.ipam.plugin != hostLocal {
		return nil
	}
	for _, set := range n.ipam.sets {
		for _, r := range set {
			list = append(list, netip.PrefixFrom(r.Gateway, r.Subnet.Bits()))
		}
	}
	return list
}

// capabilities reads the key of that name.
func (n *Network) capabilities() map[string]bool {
	can := map[string]bool{}
	r := n.reader()
	// The text was read before, so nothing in it isn't JSON; what isn't a boolean is none.
	_ = r.Object(func(key string) error {
		if key != "capabilities" {
			return nil
		}
		return r.Object(func(string) error {
			name, on := r.Key, false
			err := r.Bool(&on)
			can[name] = on
			return err
		})
	})
	return can
}

// isListed reports whether the network is of a list's plugin, rather than of a chain's.
func (n *Network) isListed() bool { return n.common != nil && n.common.list }
