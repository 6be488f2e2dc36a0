// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/sha512"
	"golang.org/x/sys/unix"
)

// A Protocol is what has ports: TCP, UDP or SCTP (numbers of IANA's registry, linux/in.h).
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
	Protocol      Protocol
	HostIP        netip.Addr // the host's address that it's for; the zero one and the unspecified ones are any (of the family)
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

// A PortPlace is what one mapping alone can have. It's comparable.
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

// element returns the mapping's element: without a target it's a key to look for.
func (m PortMapping) element(f portFamily, suffix string) element {
	host := m.HostIP
	if host.IsUnspecified() {
		host = netip.Addr{}
	}
	return element{set: f.ports(suffix, host.IsValid()), key: mappingKey(host, m.Protocol, m.HostPort)}
}

// A Publication is the port mappings of one owner.
type Publication struct {
	Owner Owner
	// Addrs are the container's addresses that ports lead to, at most one of each family, each with its
	// subnet's length. A mapping is made for each family that has an address.
	Addrs []netip.Prefix
	// Ports are the mappings.
	Ports []PortMapping
	// Hairpin lets the container and its neighbours in the subnet reach the mappings by the host's addresses, and
	// the host by 127.0.0.1: such connections are masqueraded. For 127.0.0.1 the link to the container needs the sysctl route_localnet.
	Hairpin bool
	// MasqueradeAll masquerades every connection by the mappings. It goes beyond Hairpin.
	MasqueradeAll bool
	// Note is a word of at most 6 bytes that's kept with the addresses, for whoever wonders later what they belong to.
	Note string
	// Conditions4 and Conditions6 narrow the mappings of a family to packets that match all of them. The host's
	// mapping with conditions goes before one without.
	Conditions4, Conditions6 []Condition
}

// suffix returns what the names of a family's maps end in.
func (p *Publication) suffix(f portFamily) string {
	cs := pick(f, p.Conditions4, p.Conditions6)
	if len(cs) == 0 {
		return ""
	}
	sum := sha512.Sum512([]byte(conditionsText(f, cs)))
	return "-" + hex.EncodeToString(sum[:8])
}

// elements returns what the publication consists of, one set after the other.
func (p *Publication) elements() []element {
	owner := p.Owner.comment()
	var any, host, addrs []element
	for _, a := range p.Addrs {
		f := familyOf(a.Addr())
		suffix := p.suffix(f)
		n := 0
		for _, m := range p.Ports {
			if !m.in(f) {
				continue
			}
			e := m.element(f, suffix)
			e.data, e.comment = targetData(netip.AddrPortFrom(a.Addr(), m.ContainerPort)), owner
			if e.set.key == port4 || e.set.key == port6 {
				any = append(any, e)
			} else {
				host = append(host, e)
			}
			n++
		}
		if n > 0 {
			addrs = append(addrs, p.addresses(a, n)...)
		}
	}
	return slices.Concat(addrs, any, host)
}

// addresses returns the elements of an address that has n mappings.
func (p *Publication) addresses(a netip.Prefix, n int) []element {
	f, owner := familyOf(a.Addr()), p.Owner.comment()
	comment := owner + " /" + strconv.Itoa(a.Bits()) + " " + strconv.Itoa(n)
	if p.Note != "" {
		comment += " " + p.Note
	}
	es := []element{{set: f.published(), key: a.Addr().AsSlice(), comment: comment}}
	switch {
	case p.MasqueradeAll:
		es = append(es, element{set: f.masqAll(), key: a.Addr().AsSlice(), comment: owner})
	case p.Hairpin:
		es = append(es, element{set: f.hairpin(a), key: a.Addr().AsSlice(), comment: owner})
	}
	return es
}

// address decodes an element of the set of published addresses.
func (e element) address() (a netip.Prefix, mappings int, ok bool) {
	fields := strings.Fields(e.comment)
	addr, isAddr := netip.AddrFromSlice(e.key)
	if !isAddr || len(fields) != 3 && len(fields) != 4 || e.set != familyOf(addr).published() {
		return a, 0, false
	}
	bits, err := strconv.Atoi(strings.TrimPrefix(fields[1], "/"))
	n, err2 := strconv.Atoi(fields[2])
	a = netip.PrefixFrom(addr, bits)
	return a, n, err == nil && err2 == nil && a.IsValid()
}

// note returns the note in an element of the set of published addresses.
func (e element) note() string {
	if fields := strings.Fields(e.comment); len(fields) == 4 {
		return fields[3]
	}
	return ""
}

// isAsWanted reports whether an element is the wanted one. A note may be missing: older versions made none.
func (e element) isAsWanted(want element) bool {
	same := e.comment == want.comment || want.note() != "" && e.comment == strings.TrimSuffix(want.comment, " "+want.note())
	return same && string(e.data) == string(want.data)
}

// check refuses what can't be published.
func (p *Publication) check() error {
	if err := p.Owner.check(); err != nil {
		return err
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

// ruleset returns the chains and sets that a publication's elements are for.
func (p *Publication) ruleset() portRuleset {
	var r portRuleset
	for _, a := range p.Addrs {
		f := familyOf(a.Addr())
		r.families = append(r.families, portRules{f, a.Masked(), p.suffix(f), pick(f, p.Conditions4, p.Conditions6)})
	}
	return r
}
