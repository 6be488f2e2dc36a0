// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/nft"
)

// If the host's firewall is iptables-legacy, nothing in nftables leads past it: packets that its
// FORWARD drops stay dropped. The rules are its administrator's, so they are reported and left
// alone.

// filterLegacy is its table with the chain FORWARD.
const filterLegacy = "filter"

// stoppedByLegacy returns the first of some packets that iptables-legacy is sure to drop. It's only
// a hint: a table that can't be read stops nothing.
func stoppedByLegacy(ps ...nft.Packet) (stopped nft.Packet, by string) {
	for _, p := range ps {
		of := p.Src
		if !of.IsValid() {
			of = netip.IPv4Unspecified()
			if p.IPv6 {
				of = netip.IPv6Unspecified()
			}
		}
		if t, err := nft.ReadLegacy(filterLegacy, of); err == nil && t.Stops(p) {
			return p, t.String()
		}
	}
	return nft.Packet{}, ""
}

// outwards are the first packets of containers, one for each family that an allowance has.
func outwards(o nft.Allowance) (ps []nft.Packet) {
	seen := map[bool]bool{}
	for _, a := range o.Addrs {
		if !seen[a.Is4()] {
			seen[a.Is4()] = true
			ps = append(ps, nft.Packet{In: o.Bridge, Src: a})
		}
	}
	return ps
}

// warnOfLegacy tells the caller that the opened way leads nowhere.
func warnOfLegacy(call *process.Call, o nft.Allowance) {
	if !call.Warns() {
		return
	}
	if p, by := stoppedByLegacy(outwards(o)...); by != "" {
		call.Warn("firewall: chain FORWARD of " + by + " drops packets from " + p.Src.String() +
			", and no rule of nftables leads past it (swiftctl doctor names a remedy)")
	}
}

// statusLegacy reports that iptables-legacy drops packets from a network's containers, or from any
// container if there are none.
func statusLegacy(conn *nft.Conn, network string) error {
	var o nft.Allowance
	for allowed, err := range conn.Allowed(network) {
		if err != nil {
			return nil // it's reported already
		}
		o.Addrs = append(o.Addrs, allowed.Addr)
	}
	ps := outwards(o)
	if ps == nil {
		ps = []nft.Packet{{}, {IPv6: true}}
	}
	if _, by := stoppedByLegacy(ps...); by != "" {
		return &spec.Error{Code: spec.CodeLimited, Msg: "chain FORWARD of " + by + " drops packets that the host forwards for containers", Key: "backend",
			Details: "no rule of nftables leads past iptables-legacy; swiftctl doctor names a remedy"}
	}
	return nil
}
