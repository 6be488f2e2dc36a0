// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/order"
	"github.com/swiftcni/swiftcni/internal/sha512"
	"golang.org/x/sys/unix"
)

// A Protocol is a protocol with ports: TCP, UDP or SCTP (numbers of IANA's registry, linux/in.h).
type Protocol uint8

// The protocols whose ports can be mapped.
const (
	TCP  Protocol = unix.IPPROTO_TCP
	UDP  Protocol = unix.IPPROTO_UDP
	SCTP Protocol = unix.IPPROTO_SCTP
)

// String returns "tcp", "udp", "sctp", or the number of another.
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// A PortMapping leads from a port of the host to one of the container.
type PortMapping struct {
	Protocol Protocol
	// HostIP is the host's address that the mapping is for. The zero one and the unspecified ones
	// are any (of the family).
	HostIP        netip.Addr
	HostPort      uint16
	ContainerPort uint16
}

// String returns "tcp 192.0.2.1:8080 -> 80".
func (m PortMapping) String() string {
	return m.HostText() + " -> " + strconv.Itoa(int(m.ContainerPort))
}

// HostText returns the host's part, "tcp 192.0.2.1:8080" or "tcp port 8080".
func (m PortMapping) HostText() string {
	if !m.HostIP.IsValid() || m.HostIP.IsUnspecified() {
		return m.Protocol.String() + " port " + strconv.Itoa(int(m.HostPort))
	}
	return m.Protocol.String() + " " + netip.AddrPortFrom(m.HostIP, m.HostPort).String()
}

// A PortPlace is a place that only one mapping can have. It's comparable.
type PortPlace struct {
	IPv6     bool
	HostIP   netip.Addr // the zero one is any
	Protocol Protocol
	HostPort uint16
}

// Places returns the places that a mapping takes: one, or without HostIP one of each family.
func (m PortMapping) Places() []PortPlace {
	var list []PortPlace
	for _, f := range []portFamily{family4, family6} {
		if !m.in(f) {
			continue
		}
		p := PortPlace{f == family6, m.HostIP, m.Protocol, m.HostPort}
		if p.HostIP.IsUnspecified() {
			p.HostIP = netip.Addr{}
		}
		list = append(list, p)
	}
	return list
}

// in reports whether a mapping concerns a family.
func (m PortMapping) in(f portFamily) bool { return !m.HostIP.IsValid() || familyOf(m.HostIP) == f }

// place returns where the mapping begins.
func (m PortMapping) place(g portGroup) groupPlace {
	p := groupPlace{g, m.HostIP, m.Protocol, m.HostPort}
	if p.host.IsUnspecified() {
		p.host = netip.Addr{}
	}
	return p
}

// A Publication is the port mappings of one owner.
type Publication struct {
	Owner Owner
	// Addrs are the container's addresses that ports lead to, at most one of each family, each with
	// its subnet's length. A mapping is made for each family that has an address.
	Addrs []netip.Prefix
	// Ports are the mappings.
	Ports []PortMapping
	// Mark is the bit of a packet's mark that identifies connections of these mappings until they
	// are masqueraded; 0 is [MasqueradeMark]. Other programs may use other bits.
	Mark uint32
	// Hairpin lets the container and its neighbours in the subnet reach the mappings by the host's
	// addresses, and the host by 127.0.0.1. Such connections are masqueraded. For 127.0.0.1 the
	// link to the container needs the sysctl route_localnet.
	Hairpin bool
	// MasqueradeAll masquerades every connection by the mappings. It goes beyond Hairpin.
	MasqueradeAll bool
	// Note is a word of at most 6 bytes that is kept with the addresses. It tells later what they
	// belong to.
	Note string
	// Conditions4 and Conditions6 narrow the mappings of a family to packets that match all of
	// them. A mapping with conditions goes before one without.
	Conditions4, Conditions6 []Condition
}

// group returns where a family's mappings are.
func (p *Publication) group(f portFamily) portGroup {
	cs := p.conditions(f)
	if len(cs) == 0 {
		return portGroup{f, ""}
	}
	sum := sha512.Sum512([]byte(conditionsText(f, cs)))
	return portGroup{f, hex.EncodeToString(sum[:8])}
}

func (p *Publication) conditions(f portFamily) []Condition {
	return pick(f, p.Conditions4, p.Conditions6)
}

// bit is the number of the mark's bit.
func (p *Publication) bit() int {
	if p.Mark == 0 {
		return usualBit
	}
	return bitOf(p.Mark)
}

// address describes an address of the publication that has n mappings.
func (p *Publication) address(a netip.Prefix, n int) publishedAddress {
	v := publishedAddress{Prefix: a, mappings: n, masquerades: masqueradesNothing, bit: p.bit(), note: p.Note}
	switch {
	case p.MasqueradeAll:
		v.masquerades = masqueradesAll
	case p.Hairpin:
		v.masquerades = masqueradesHairpin
	}
	return v
}

// elements returns the elements of the publication, one set after the other.
func (p *Publication) elements() []element {
	owner := p.Owner.comment()
	var es []element
	for _, a := range p.Addrs {
		f := familyOf(a.Addr())
		g, n := p.group(f), 0
		for _, m := range p.Ports {
			if m.in(f) {
				es = append(es, p.address(a, 0).mapping(m.place(g), m.ContainerPort, owner)...)
				n++
			}
		}
		if n > 0 {
			es = append(es, p.address(a, n).elements(owner)...)
		}
	}
	sortBySet(es)
	return es
}

// sortBySet sorts elements by their sets, since a message holds those of one set.
func sortBySet(es []element) {
	order.By(es, func(a, b element) int { return strings.Compare(a.set.name, b.set.name) })
}

// check refuses anything that can't be published.
func (p *Publication) check() error {
	if err := p.Owner.check(); err != nil {
		return err
	}
	if p.Mark&(p.Mark-1) != 0 || p.Mark == AcceptMark {
		return fmt.Errorf("nft: %s: mark %#x: not one bit, or the firewall's", p.Owner, p.Mark)
	}
	var seen [2]bool
	for _, a := range p.Addrs {
		i := pick(familyOf(a.Addr()), 0, 1)
		if !a.IsValid() || a.Addr().Is4In6() || a.Addr().Zone() != "" || seen[i] {
			return fmt.Errorf("nft: %s: address %s isn't one, or the second of its family", p.Owner, a)
		}
		seen[i] = true
	}
	if err := checkConditions(p.Conditions4, p.Conditions6); err != nil {
		return fmt.Errorf("nft: %s: %w", p.Owner, err)
	}
	if len(p.Note) > 6 || strings.ContainsFunc(p.Note, forbidden) {
		return fmt.Errorf("nft: %s: note %q is longer than 6 bytes, or no word", p.Owner, p.Note)
	}
	return p.checkPorts()
}

func (p *Publication) checkPorts() error {
	taken := make(map[PortPlace]bool, len(p.Ports))
	for _, m := range p.Ports {
		switch m.Protocol {
		case TCP, UDP, SCTP:
		default:
			return fmt.Errorf("nft: %s: protocol %s has no ports that can be mapped", p.Owner, m.Protocol)
		}
		if m.HostPort == 0 || m.ContainerPort == 0 || m.HostIP.Is4In6() || m.HostIP.Zone() != "" {
			return fmt.Errorf("nft: %s: not a port mapping: %s", p.Owner, m)
		}
		for _, place := range m.Places() {
			if taken[place] {
				return fmt.Errorf("nft: %s: %s is mapped twice", p.Owner, m.HostText())
			}
			taken[place] = true
		}
	}
	return nil
}

// needs returns the sets and chains that a publication's elements are for.
func (p *Publication) needs() (w need) {
	for _, a := range p.Addrs {
		f := familyOf(a.Addr())
		g := p.group(f)
		w.sets = append(append(w.sets, g.sets()...), f.published())
		if s, ok := p.address(a, 0).set(); ok {
			w.sets = append(w.sets, s, g.snat(false, p.bit()), g.snat(true, p.bit()))
		}
		if g.hash != "" {
			w.conditions = append(w.conditions, g.condition(p.conditions(f)))
		}
	}
	return w
}
