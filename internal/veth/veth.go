// SPDX-License-Identifier: Apache-2.0

// Package veth attaches containers by pairs of links. It's the engine of the plugins bridge and
// ptp, which are two topologies of it.
//
// An attachment is decided as a plan, without I/O, and run by a few sends: the host's side, the
// ruleset, the container's side. All names are derived from the owner, so that Del and GC find what
// a process that died midway left.
package veth

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
)

// Keys are bridge's or ptp's, of one network.
type Keys struct {
	conf   *netconf.Network
	routed bool // the topology is ptp

	place   int    // of the container's link among a result's interfaces
	shared  bool   // others than the host hear what the container sends
	speaker string // the plugin's name, where the reference's begins its errors with it

	// Of bridge alone.
	guard bool // the container may send from its own MAC alone: key "macspoofchk"
	dad   bool // key "enabledad"
	down  bool // the container's link stays down: key "disableContainerInterface"
}

// A topology is how a container's link joins the host: what bridge and ptp don't share. Each
// function gets the keys by what it works on.
type topology struct {
	// problem is what is wrong with a configuration, or nil.
	problem func(*netconf.Network) error
	// admit is what besides keeps an attachment from being made, and its explicit MAC.
	admit func(*netconf.Network, spec.Attachment) (net.HardwareAddr, error)

	// complete adds to a plan's addresses and routes what the topology needs.
	complete func(*plan)
	// refuse finds addresses that its links can't have, before anything is touched.
	refuse func(*plan) error
	// forwards reports whether the host must forward a family: IPv4, or else IPv6.
	forwards func(p *plan, four bool) bool

	// hostSide makes the pair of links, and what the host has for it.
	hostSide func(*attaching) error
	// answered are the steps that wait for an IPAM plugin's answer.
	answered func(*attaching) []func() error
	// interfaces are those of the result.
	interfaces func(*attaching) ([]spec.Interface, error)

	// look goes through what an attachment consists of.
	look func(*checking) error
	// status says why the host can't serve attachments as it should.
	status func(*netconf.Network) error
	// neighbourLink is the link by which the host knows the container's MAC. "" is one that goes
	// with the container.
	neighbourLink func(*netconf.Network) string
	// tell adds what follows from the keys for the host.
	tell func(*netconf.Network, *facts.Plugin)
}

// side is the network's topology. It isn't a field: the linker keeps the methods of all types that
// the fields of a type in an interface lead to, here those of sockets.
func (k *Keys) side() *topology {
	if k.routed {
		return &ptpSide
	}
	return &bridgeSide
}

// Wrong finds what is wrong with the configuration.
func (k *Keys) Wrong(a spec.Attachment) *spec.Error {
	err := k.side().problem(k.conf)
	if err == nil {
		_, err = k.side().admit(k.conf, a)
	}
	if err != nil {
		return fault.Of(err)
	}
	return nil
}

// checkAdd finds whatever is wrong with the input, before anything is touched.
func (k *Keys) checkAdd(a spec.Attachment) (net.HardwareAddr, error) {
	if err := netconf.AttachmentError(a); err != nil {
		return nil, err
	}
	if a.NetNS == "" {
		return nil, fault.Missing("CNI_NETNS")
	}
	if err := k.side().problem(k.conf); err != nil {
		return nil, err
	}
	return k.side().admit(k.conf, a)
}

// checkRanges finds what is wrong with host-local's ranges for links of a network.
func checkRanges(n *netconf.Network) error {
	if e := n.IPAM.SetsErr; e != nil {
		return e
	}
	for _, set := range n.IPAM.Sets {
		if err := endpoint.CheckMTU(n.Link.MTU, set[0].Subnet.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// masqueraded are those of a container's addresses that are masqueraded. It changes the list.
func (k *Keys) masqueraded(addrs []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(addrs, func(p netip.Prefix) bool { return !k.conf.Link.Masquerades(p.Addr().Is4()) })
}

// outboundProblem finds an address that no traffic would get.
func outboundProblem(n *netconf.Network) error {
	for i, a := range n.Link.Outbound {
		if a.IsValid() && !n.Link.Masquerades(i == 0) {
			key := "outboundAddr" + strconv.Itoa(4+2*i)
			return fault.Key(key, key+" needs masquerade, by ipMasq or ip6Masq")
		}
	}
	return nil
}

// addresses is the plugin that gives the network's addresses, or nil where it has none.
func (k *Keys) addresses() verbs.Plugin { return addresses.Of(k.conf) }

// owner is an attachment as the ruleset knows it.
func (k *Keys) owner(a spec.Attachment) nft.Owner {
	return names.RulesOwner(k.conf.Name, names.Lessee(a))
}

// namesOf are an attachment's.
func (k *Keys) namesOf(a spec.Attachment, attempt int) names.Names {
	nm := names.Of(k.conf.Name, a.ContainerID, a.IfName, attempt)
	if pattern := k.conf.Link.HostName; pattern != "" {
		nm.Link = names.Called(nm.Link, pattern)
	}
	return nm
}

// Tell adds what follows from the keys for the host.
func (k *Keys) Tell(f *facts.Plugin) { k.side().tell(k.conf, f) }

// inOrder returns the first error.
func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
