// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// These are the ways of packets: out of each container, and to each published port. They are judged
// by the effect of the host's rules, whichever program made them, and not by the presence of rules.

// host has the facts that the ways depend on, other than rules.
type host struct {
	uplinks map[bool]string           // links to the outside; the key is true for IPv4
	addrs   map[bool]netip.Addr       // the uplinks' first addresses
	legacy  map[bool]*nft.LegacyTable // the tables filter of iptables-legacy
	detours []string                  // the missing parts of the way through iptables' tables
}

// outside are addresses that only a default route leads to (RFC 5737, RFC 3849).
var outside = [...]netip.Addr{netip.AddrFrom4([4]byte{198, 51, 100, 1}), netip.MustParseAddr("2001:db8:ffff:ffff::1")}

func (x *examination) readHost() (h host, err error) {
	h = host{uplinks: map[bool]string{}, addrs: map[bool]netip.Addr{}, legacy: map[bool]*nft.LegacyTable{}}
	if h.detours, err = x.rules.MissingDetours(); err != nil {
		return h, ifSupported(err)
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return h, err
	}
	defer conn.Close()
	for _, to := range outside {
		is4 := to.Is4()
		var legacyErr error
		h.legacy[is4], legacyErr = nft.ReadLegacy("filter", to)
		err = join(err, legacyErr)
		link, local, routeErr := conn.RouteTo(to)
		if routeErr != nil || local {
			continue // no uplink
		}
		h.uplinks[is4], _ = conn.Name(link)
		for a, addrErr := range conn.Addrs(link, familyOf(to)) {
			if addrErr == nil && !a.Prefix.Addr().IsLinkLocalUnicast() && !h.addrs[is4].IsValid() {
				h.addrs[is4] = a.Prefix.Addr()
			}
		}
	}
	return h, err
}

// link is the link of the host that packets from and to an attachment pass: its bridge, or its host
// end; "" if it has none.
func (x *examination) link(h *held) string {
	l := h.link
	if l.Index == 0 {
		l = x.node.links.withAny(h.targets())
	}
	if bridge := x.node.links.names[l.Master]; bridge != "" {
		return bridge
	}
	return l.Name
}

// routed are those addresses of an attachment for which the host is the gateway.
func (x *examination) routed(h *held) (list []netip.Addr) {
	if h.link.Index == 0 {
		return h.Firewall
	}
	for _, a := range h.Addresses {
		onBridge := slices.ContainsFunc(x.node.links.bridgeAddrs[h.Bridge], func(p netip.Prefix) bool { return p.Masked().Contains(a) })
		if h.Bridge == "" || onBridge {
			list = append(list, a)
		}
	}
	return list
}

// ways looks at packets from an attachment, and at packets to its ports.
func (x *examination) ways(h *held) {
	link := x.link(h)
	if link == "" {
		return
	}
	for _, a := range x.routed(h) {
		p := nft.Packet{In: link, Out: x.host.uplinks[a.Is4()], Src: a, Allowed: slices.Contains(h.opened, a)}
		if b, stopped := x.filters.Stops(p); stopped {
			x.barrier(h, a, b)
		}
		if x.host.legacy[a.Is4()].Stops(p) {
			subnet, program := x.subnet(h, a), iptablesFor(a)+"-legacy"
			x.add("legacy-drop", h.Network, "", "chain FORWARD of "+program+" drops packets from containers of this network, and no rule of nftables leads past it",
				program+" -I FORWARD -s "+subnet+" -j ACCEPT && "+program+" -I FORWARD -d "+subnet+" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
		}
	}
	for _, p := range h.Ports {
		if !p.HostIP.IsLoopback() {
			x.inward(h, p, link)
		}
	}
}

func iptablesFor(a netip.Addr) string {
	if a.Is4() {
		return "iptables"
	}
	return "ip6tables"
}

// subnet is the subnet of one of an attachment's addresses.
func (x *examination) subnet(h *held, a netip.Addr) string {
	link := h.link
	if link.Index == 0 {
		link = x.node.links.withAny([]netip.Addr{a})
	}
	for _, p := range x.node.links.addrs(link) {
		if p.Addr() == a {
			return p.Masked().String()
		}
	}
	return netip.PrefixFrom(a, a.BitLen()).String()
}

// barrier reports a chain that drops packets from an attachment.
func (x *examination) barrier(h *held, a netip.Addr, b nft.Barrier) {
	opened, subnet := slices.Contains(h.opened, a), x.subnet(h, a)
	family := map[bool]string{true: "ip", false: "ip6"}[a.Is4()]
	switch {
	case b.Table == family+" filter" && opened:
		// A missing part of the way is a finding of the host. If the way is whole, the
		// administrator's chain drops.
	case b.Table == family+" filter":
		x.add("barrier", h.Network, "", "chain "+b.String()+" drops packets that no rule accepts, and none accepts those from containers of this network", x.opens(h, a, subnet))
	case strings.HasSuffix(b.Table, " firewalld"):
		x.add("firewalld", h.Network, "", "firewalld rejects packets from "+subnet+": none of its zones has these containers, since it was started, reloaded or restarted after them",
			"firewall-cmd --permanent --zone="+x.zone(h)+" --add-source="+subnet+" && firewall-cmd --reload")
	default:
		rule := "nft insert rule " + b.String() + " " + family
		x.add("barrier", h.Network, "", "chain "+b.String()+" drops packets from containers of this network, and no other table can let them past",
			rule+" saddr "+subnet+" accept && "+rule+" daddr "+subnet+" ct state established,related accept")
	}
}

// opens is the command that lets a network's containers through iptables' FORWARD.
func (x *examination) opens(h *held, a netip.Addr, subnet string) string {
	c := x.conf(h.Network)
	switch {
	// Otherwise the plugin leaves iptables alone.
	case c != nil && c.has("firewall") && !x.hasFirewalld():
		return "swiftctl sync " + c.path + ", or attach the containers again"
	case x.hasUFW(a):
		return "ufw route allow from " + subnet
	}
	program, also := iptablesFor(a), ""
	if c != nil && !c.has("firewall") {
		also = `; for good, add { "type": "firewall" } to the list in ` + c.path + ", and attach the containers again"
	}
	return program + " -I FORWARD -s " + subnet + " -j ACCEPT && " + program + " -I FORWARD -d " + subnet + " -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" + also
}

// hasUFW reports whether ufw keeps the table that an address's packets pass.
func (x *examination) hasUFW(a netip.Addr) bool {
	if a.Is4() {
		return x.filters.Has("ip filter", "ufw-before-forward")
	}
	return x.filters.Has("ip6 filter", "ufw6-before-forward")
}

// zone is the zone of firewalld for a network's containers.
func (x *examination) zone(h *held) string {
	if c := x.conf(h.Network); c != nil && c.has("firewall") {
		return c.plugin("firewall").Zone
	}
	return "trusted"
}

// conf is a network's configuration, if it's known.
func (x *examination) conf(network string) *netconf {
	for _, c := range x.confs {
		if c.network.Name() == network {
			return c
		}
	}
	return nil
}

// inward looks at packets from outside for a published port.
func (x *examination) inward(h *held, port port, link string) {
	a := port.ContainerIP
	p := nft.Packet{In: x.host.uplinks[a.Is4()], Out: link, Dst: a, Protocol: port.protocol, Port: port.ContainerPort, DNAT: true}
	says := func(chain string) string {
		return fmt.Sprintf("chain %s drops packets from outside for %s", chain, port.text)
	}
	accept := fmt.Sprintf("-I FORWARD -m conntrack --ctstate DNAT -p %s --dport %d -j ACCEPT", port.Protocol, port.ContainerPort)
	if b, stopped := x.filters.Stops(p); stopped {
		remedy := fmt.Sprintf("nft insert rule %s ct status dnat %s dport %d accept", b, port.Protocol, port.ContainerPort)
		switch {
		case b.Chain == "FORWARD" && x.hasUFW(a):
			remedy = fmt.Sprintf("ufw route allow proto %s to any port %d", port.Protocol, port.ContainerPort)
		case b.Chain == "FORWARD":
			remedy = iptablesFor(a) + " " + accept
		}
		x.add("port-closed", h.Network, h.who(), says(b.String()), remedy)
	}
	if t := x.host.legacy[a.Is4()]; t.Stops(p) {
		x.add("port-closed", h.Network, h.who(), says("FORWARD of "+iptablesFor(a)+"-legacy"), iptablesFor(a)+"-legacy "+accept)
	}
}
