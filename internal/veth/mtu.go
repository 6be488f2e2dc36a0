// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/rtnl"
)

// mtu is that of a network's links; 0 is the kernel's default. With "auto" it's that of the link by
// which the host reaches the internet: by IPv4, or else by IPv6. A host that doesn't has the
// default.
func (k *Keys) mtu(conn *rtnl.Conn) int {
	if !k.conf.Link.AutoMTU {
		return max(k.conf.Link.MTU, 0)
	}
	// A root name server's addresses (a.root-servers.net). Nothing is sent there.
	for _, far := range [...]netip.Addr{netip.AddrFrom4([4]byte{198, 41, 0, 4}),
		netip.AddrFrom16([16]byte{0x20, 0x01, 0x05, 0x03, 0xba, 0x3e, 13: 2, 15: 0x30})} {
		index, local, err := conn.RouteTo(far)
		if err != nil || local {
			continue // no route, or one that leads nowhere
		}
		name, err := conn.Name(index)
		if err != nil {
			continue // it's gone
		}
		if mtu, err := conn.MTU(name); err == nil {
			return mtu
		}
	}
	return 0
}
