// SPDX-License-Identifier: Apache-2.0

// Package netconf is one plugin's configuration as it was read.
//
// All keys that more than one plugin reads are here, and those of bridge, ptp, host-local and
// static. A value that's wrong is noted with whom it concerns, and reading goes on: each plugin
// judges what it reads ([Network.Wrong]).
package netconf

import (
	"net"
	"net/netip"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"golang.org/x/sys/unix"
)

// A Network is the configuration of one plugin. It doesn't change once it was read.
type Network struct {
	Name       string
	CNIVersion string // as written, 0.1.0 when absent
	Type       string // the plugin that it names
	Text       []byte // as it came; Input is what another program gets
	Chain      []Text // key "chain"

	Link   Link
	Bridge Bridge
	IPAM   IPAM
	DNS    spec.DNS
	HasDNS bool // DNS replaces what IPAM says

	Prev     *spec.Result // key "prevResult"; nil: there's none, or it can't be read
	PrevText []byte       // as it came
	PrevErr  *spec.Error  // why it can't be read

	Valid []spec.Attachment // GC's list; nil is no list

	// ArgsMAC is the MAC in CNI_ARGS as it's written. A program's call sets it before the plugin
	// reads its keys; an embedder's attachment has its own.
	ArgsMAC string

	common *Common
	macs   [2]string
	faults []keyFault
}

// Where a container's MAC may come from; the first that is set wins.
const (
	macRuntime = iota // runtimeConfig.mac
	macArgs           // args.cni.mac
)

// Version is the parsed cniVersion; the gate has refused what can't be parsed.
func (n *Network) Version() specversion.Number {
	v, _ := specversion.Parse(n.CNIVersion)
	return v
}

// Link is what bridge and ptp are told of a container's link.
type Link struct {
	MTU         int  // may be negative, which is none
	AutoMTU     bool // it's that of the link with the host's default route
	Queues      int
	HostName    string // the pattern of the host ends' names (names.Names.Called); "" is the usual one
	IPMasq      bool
	IP6Masq     *bool         // of IPv6; nil: as IPMasq
	Outbound    [2]netip.Addr // what masqueraded traffic gets by IPv4 and by IPv6; the zero Addr is none
	NoLinkLocal bool          // key "linkLocal" is false
}

// Masquerades reports whether a family is masqueraded: IPv4, or else IPv6.
func (l *Link) Masquerades(four bool) bool {
	if four || l.IP6Masq == nil {
		return l.IPMasq
	}
	return *l.IP6Masq
}

// MasqueradesAny reports whether either family is masqueraded.
func (l *Link) MasqueradesAny() bool { return l.IPMasq || l.Masquerades(false) }

// Bridge is what the plugin bridge is told besides.
type Bridge struct {
	Name             string
	IsGateway        bool
	IsDefaultGateway bool
	ForceAddress     bool
	Hairpin          bool
	Promisc          bool
	GroupFwdMask     int    // 0 leaves it
	Uplink           string // key "uplinkInterface"; "" is none
	VLAN             int
	HasTrunk         bool // the key is there, though it may be empty
	Trunk            []VLANs
	KeepDefaultVLAN  bool
	MACSpoofCheck    bool
	DAD              bool
	ContainerDown    bool // key "disableContainerInterface"
	Isolated         bool
}

// Gateway reports whether the bridge gets gateway addresses.
func (b *Bridge) Gateway() bool { return b.IsGateway || b.IsDefaultGateway }

// FiltersVLANs reports whether the bridge must filter by VLAN.
func (b *Bridge) FiltersVLANs() bool { return b.VLAN != 0 || b.HasTrunk }

// HasAddresses reports whether the network gives addresses at all.
func (n *Network) HasAddresses() bool { return n.IPAM.Plugin != "" }

// Delegates reports whether another program manages the network's addresses, as dhcp's daemon does.
func (n *Network) Delegates() bool { return n.HasAddresses() && !n.IPAM.IsOurs() }

// MAC picks the container's explicit MAC: runtimeConfig over args.cni over CNI_ARGS or what the
// embedder asks for. nil means none.
func (n *Network) MAC(a spec.Attachment) (net.HardwareAddr, *spec.Error) {
	for _, from := range []struct{ key, text string }{
		{"runtimeConfig.mac", n.macs[macRuntime]},
		{"args.cni.mac", n.macs[macArgs]},
		{"CNI_ARGS MAC", n.Asked(a)},
	} {
		if from.text == "" {
			continue
		}
		mac, err := net.ParseMAC(from.text)
		if err == nil && len(mac) != 6 {
			err = unix.EINVAL // as the kernel says
		}
		if err != nil {
			return nil, fault.Expected(from.key, "failed to make veth pair: "+err.Error(), "six octets")
		}
		return mac, nil
	}
	return nil, nil
}

// Asked is the MAC that's requested for one attachment beside the configuration, as it was written.
// "" is none.
func (n *Network) Asked(a spec.Attachment) string {
	if n.ArgsMAC != "" {
		return n.ArgsMAC
	}
	return a.MAC.String()
}
