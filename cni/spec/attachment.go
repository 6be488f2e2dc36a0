// SPDX-License-Identifier: Apache-2.0

package spec

import "net/netip"

// An Attachment is a container's place on a network. The specification identifies it by network,
// ContainerID and IfName.
type Attachment struct {
	ContainerID string // [a-zA-Z0-9][a-zA-Z0-9_.-]*
	IfName      string // of the link in the container, at most 15 bytes
	NetNS       string // path of the container's network namespace; Detach does without

	MAC   string       // wanted for the container's link; the configuration's own wishes win
	Addrs []netip.Addr // wanted, beside those that the configuration asks for

	Args string // CNI_ARGS, for an IPAM plugin that isn't host-local

	// SharedNetNS says that the caller means its own namespace when NetNS is that, which otherwise is an
	// error (CNI_NETNS_OVERRIDE).
	SharedNetNS bool
}
