// SPDX-License-Identifier: Apache-2.0

// Package spec has the words of the Container Network Interface (https://www.cni.dev/docs/spec,
// versions 0.1.0 to 1.1.0): attachments, results and errors. Package cni has them too, under the
// same names.
package spec

import "net/netip"

// A Result is the result of an attachment, in the newest form. It can be printed in the form of any
// version, and read from it.
//
// Unknown fields of a result, or of an entry of one, are kept in Others, and printed again. Others
// is the inner text of a JSON object, without its braces.
type Result struct {
	CNIVersion string // the form in which it prints
	Interfaces []Interface
	IPs        []IP
	Routes     []Route
	DNS        DNS

	// OfIPAM says that it's an IPAM plugin's. In the form of 0.1.0 and 0.2.0 its routes without a
	// gateway stay so.
	OfIPAM bool
	Others string
}

// An Interface is a link that an attachment made or uses.
type Interface struct {
	Name    string
	MAC     string // as the plugin that named it wrote it; may be empty
	MTU     int    // bytes; 0 is unknown
	Sandbox string // path of the namespace that holds it; empty is the host's

	Others string // such as "pciID":"0000:00:1f.6"
}

// NoInterface is an [IP] that names no interface.
const NoInterface = -1

// An IP is an address of the container.
type IP struct {
	Address   netip.Prefix // the address, with its subnet's length
	Gateway   netip.Addr   // may be invalid: none
	Interface int          // index into Result.Interfaces, or NoInterface

	Others string
}

// A Route is a route of the container. Zero fields are unset.
type Route struct {
	Dst      netip.Prefix
	Gateway  netip.Addr
	MTU      int // bytes
	AdvMSS   int // bytes
	Priority int
	Table    *int // nil is the main table
	Scope    *int // nil lets the kernel's rule decide (RT_SCOPE_*, linux/rtnetlink.h)

	Others string
}

// DNS is the resolver's configuration of the container, in the words of resolv.conf(5).
type DNS struct {
	Nameservers []string
	Domain      string
	Search      []string
	Options     []string

	Others string
}
