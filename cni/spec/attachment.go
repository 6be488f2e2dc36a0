// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"net"
	"net/netip"
)

// An Attachment is a container's place on a network. The specification identifies it by network,
// ContainerID and IfName. A call only reads it, and keeps nothing of it.
type Attachment struct {
	ContainerID string // [a-zA-Z0-9][a-zA-Z0-9_.-]*
	IfName      string // of the link in the container, at most 15 bytes
	NetNS       string // path of the container's network namespace; Detach doesn't need it

	// MAC is requested for the container's link: six bytes, or nil. The configuration's own
	// requests win. bridge and tuning honour it.
	MAC net.HardwareAddr
	// Addrs are requested of host-local, beside those of the configuration. Each must be in a range
	// set of its own.
	Addrs []netip.Addr

	// Args are CNI_ARGS, "K=V;K2=V2", for an IPAM plugin other than host-local. static reads the
	// keys IP and GATEWAY. The key MAC isn't looked at.
	Args string

	// SharedNetNS allows NetNS to be the caller's own namespace (CNI_NETNS_OVERRIDE). Otherwise
	// that is an error.
	SharedNetNS bool
}
