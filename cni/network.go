// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"golang.org/x/sys/unix"
)

// A Network is a configuration that was read. It doesn't change, and many goroutines may use one.
// Its defaults, limits and interplay are those of the reference plugins; docs/keys.md lists every key.
type Network struct {
	served             *plugin      // that "type" names, or the program's own; nil: there's none
	room               verbs.Plugin // what the plugin has read of its own keys, if it has a room of its own
	members            []member     // that follow it
	common             *common      // what the list or chain says that it's in; nil: it isn't
	noCheck, noCollect bool         // keys "disableCheck" and "disableGC" of its list
	err                error        // what is wrong with the configuration: an embedder's calls end with it, but for Detach

	cniVersion string // as written, 0.1.0 when absent
	name       string
	plugin     string // key "type"
	text       []byte // as it came, for an IPAM plugin that is delegated to

	chain   []memberText // key "chain"
	bridge  bridgeKeys
	ipam    ipamKeys
	faults  []keyFault // of its keys
	dns     DNS
	hasDNS  bool // the configuration's dns replaces what IPAM says
	macs    [2]string
	prev    *Result
	prevRaw []byte
	prevErr *Error
	valid   []Attachment // GC's list; nil is no list
}

// Where a container's MAC may come from; the first that is set wins.
const (
	macRuntime = iota // runtimeConfig.mac
	macArgs           // args.cni.mac
)

// Name is the network's name, key "name".
func (n *Network) Name() string { return n.name }

// CNIVersion is the version whose result form ADD prints, key "cniVersion".
func (n *Network) CNIVersion() string { return n.cniVersion }

// Plugin is the name of the plugin that the configuration is for, key "type".
func (n *Network) Plugin() string { return n.plugin }

// PrevResult is the result that the runtime handed back, key "prevResult", or nil.
func (n *Network) PrevResult() *Result { return n.prev }

// ValidAttachments is what GC may not touch, key "cni.dev/valid-attachments". No such key is nil.
func (n *Network) ValidAttachments() []Attachment { return n.valid }

// version is the parsed cniVersion; the gate has refused what can't be parsed.
func (n *Network) version() version {
	v, _ := specversion.Parse(n.cniVersion)
	return v
}

// bridgeKeys are the bridge plugin's own.
type bridgeKeys struct {
	name             string
	isGateway        bool
	isDefaultGateway bool
	forceAddress     bool
	ipMasq           bool
	ipMasqBackend    string
	mtu              int
	queues           int
	hairpin          bool
	promisc          bool
	vlan             int
	hasTrunk         bool // the key is there, though it may be empty
	trunk            []vlanRange
	keepDefaultVLAN  bool
	macSpoofCheck    bool
	dad              bool
	containerDown    bool // key "disableContainerInterface"
	isolated         bool
	noLinkLocal      bool // key "linkLocal" is false
}

// vlanRange is VLAN IDs from first to last.
type vlanRange struct{ first, last int }

// filtersVLANs reports whether the bridge must filter by VLAN.
func (b *bridgeKeys) filtersVLANs() bool { return b.vlan != 0 || b.hasTrunk }

// ipamKeys are host-local's, and the name of the plugin that stands in its place.
type ipamKeys struct {
	present    bool
	own        string // the IPAM plugin that reads its own configuration, whatever "type" says
	plugin     string // "type"; empty means that the network has no addresses
	dataDir    string
	short      ipam.Range // subnet, rangeStart, rangeEnd, gateway
	ranges     []ipam.RangeSet
	sets       []ipam.RangeSet // all of them, canonical
	setsErr    *Error
	routes     []Route
	resolvConf string
	static     staticKeys

	args, runtime wishes          // args.cni.ips, runtimeConfig.ips
	runtimeRanges []ipam.RangeSet // runtimeConfig.ipRanges
}

// wishes are addresses that are asked for, and their texts: static needs the lengths that host-local ignores.
type wishes struct {
	addrs []netip.Addr
	texts []string
}

// isOurs reports whether the addresses are given in this process.
func (k *ipamKeys) isOurs() bool { return k.plugin == hostLocal || k.plugin == static }

// The IPAM plugins that run in this process.
const (
	hostLocal = "host-local"
	static    = "static"
)

// delegates reports whether another program manages the network's addresses.
func (n *Network) delegates() bool {
	return n.hasAddresses() && !n.ipam.isOurs()
}

// hasAddresses reports whether the network gives addresses at all.
func (n *Network) hasAddresses() bool { return n.ipam.plugin != "" }

// mac picks the container's explicit MAC: runtimeConfig over args.cni over CNI_ARGS. nil means none.
func (n *Network) mac(a Attachment) (net.HardwareAddr, error) {
	for _, from := range []struct{ key, text string }{
		{"runtimeConfig.mac", n.macs[macRuntime]},
		{"args.cni.mac", n.macs[macArgs]},
		{"CNI_ARGS MAC", a.MAC},
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

// setsOf4 counts the range sets of IPv4 addresses.
func (k *ipamKeys) setsOf4() (n int) {
	for _, set := range k.sets {
		if set[0].Start.Is4() {
			n++
		}
	}
	return n
}
