// SPDX-License-Identifier: Apache-2.0

// Package result is the work of plugins on results, other than reading their fields.
package result

import (
	"net/netip"

	"github.com/swiftcni/swiftcni/cni/spec"
	"golang.org/x/sys/unix"
)

// In is a copy of a result, to be printed in a version's form.
func In(res *spec.Result, cniVersion string) *spec.Result {
	passed := *res
	passed.CNIVersion = cniVersion
	return &passed
}

// GatewayOr is a route's gateway. If the route names none, it's the other one.
func GatewayOr(route *spec.Route, gw netip.Addr) netip.Addr {
	if route.Gateway.IsValid() {
		return route.Gateway
	}
	return gw
}

// HasGateway reports whether an address has a gateway that it can use. whereabouts gives one
// gateway to all addresses, whatever their family.
func HasGateway(ip *spec.IP) bool {
	return Specified(ip.Gateway).IsValid() && ip.Gateway.Is4() == ip.Address.Addr().Is4()
}

// Specified is a gateway, or none if it's 0.0.0.0 or ::. dhcp gives that for a destination on the
// link (RFC 3442).
func Specified(gw netip.Addr) netip.Addr {
	if gw.IsUnspecified() {
		return netip.Addr{}
	}
	return gw
}

// Single is the prefix that holds only one address.
func Single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Family is AF_INET or AF_INET6.
func Family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
