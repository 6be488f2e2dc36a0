// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// A portFamily is a family as it's written in the names of sets.
type portFamily byte

const (
	family4 portFamily = '4'
	family6 portFamily = '6'
)

// families are both.
func families() [2]portFamily { return [2]portFamily{family4, family6} }

func familyOf(a netip.Addr) portFamily {
	if a.Is4() {
		return family4
	}
	return family6
}

// pick returns the first of two for IPv4, else the second.
func pick[T any](f portFamily, four, six T) T {
	if f == family4 {
		return four
	}
	return six
}

func (f portFamily) name(s string) string { return s + string(rune(f)) }

// protocols are those whose ports can be mapped.
func protocols() [3]Protocol { return [3]Protocol{TCP, UDP, SCTP} }

// protocolOf is the reverse of String for them.
func protocolOf(name string) (Protocol, bool) {
	for _, p := range protocols() {
		if p.String() == name {
			return p, true
		}
	}
	return 0, false
}

// A portGroup is the mappings of a family under the same conditions: "" or a hash of them.
type portGroup struct {
	family portFamily
	hash   string
}

// ports returns the map of a protocol's mappings, to the host's any address or to one of them.
func (g portGroup) ports(p Protocol, host bool) set {
	head := p.String()
	if host {
		head = hostName + head
	}
	return role{head: head, family: g.family, arg: g.hash}.set()
}

// standby returns the set of mappings that wait.
func (g portGroup) standby(host bool) set {
	return role{head: pickIf(host, hostStandbyName, standbyName), family: g.family, arg: g.hash}.set()
}

// snat returns the set of the ports that are marked with a bit.
func (g portGroup) snat(host bool, bit int) set {
	return role{head: pickIf(host, hostSNATName, snatName), family: g.family, arg: g.hash, bit: bit}.set()
}

func pickIf[T any](condition bool, yes, no T) T {
	if condition {
		return yes
	}
	return no
}

// sets returns the sets that the group always has.
func (g portGroup) sets() (sets []set) {
	for _, p := range protocols() {
		sets = append(sets, g.ports(p, false), g.ports(p, true))
	}
	return sets
}

func (f portFamily) published() set      { return role{head: publishedName, family: f}.set() }
func (f portFamily) masqAll(bit int) set { return role{head: masqAllName, family: f, bit: bit}.set() }
func (f portFamily) hairpin(length, bit int) set {
	return role{head: hairpinName, family: f, arg: strconv.Itoa(length), bit: bit}.set()
}

// A groupPlace is where a mapping begins, among those of a group.
type groupPlace struct {
	group    portGroup
	host     netip.Addr // the host's address; the zero one is any
	protocol Protocol
	port     uint16
}

// element returns the place's element in the map of mappings, without a target.
func (p groupPlace) element() element {
	key := binary.BigEndian.AppendUint16(p.host.AsSlice(), p.port)
	if p.host.IsValid() {
		key = append(key, 0, 0)
	}
	return element{set: p.group.ports(p.protocol, p.host.IsValid()), key: key}
}

// snat returns the place's element among the ports that are marked.
func (p groupPlace) snat(bit int) element {
	return element{set: p.group.snat(p.host.IsValid(), bit), key: p.appendProtocolPort(p.host.AsSlice())}
}

// standby returns the element of a mapping that waits for the place.
func (p groupPlace) standby(target netip.AddrPort) element {
	key := p.appendProtocolPort(append(target.Addr().AsSlice(), p.host.AsSlice()...))
	return element{set: p.group.standby(p.host.IsValid()), key: append(binary.BigEndian.AppendUint16(key, target.Port()), 0, 0)}
}

// appendProtocolPort joins parts as the kernel does in registers of 4 bytes.
func (p groupPlace) appendProtocolPort(key []byte) []byte {
	key = append(key, byte(p.protocol), 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(key, p.port), 0, 0)
}

// targetData is a map's value.
func targetData(t netip.AddrPort) []byte {
	data := append(make([]byte, 0, 20), t.Addr().AsSlice()...)
	return append(binary.BigEndian.AppendUint16(data, t.Port()), 0, 0)
}

// target decodes a map's value.
func target(data []byte) (t netip.AddrPort, ok bool) {
	if len(data) < 4 {
		return t, false
	}
	addr, ok := netip.AddrFromSlice(data[:len(data)-4])
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(data[len(data)-4:])), ok
}

// mapping decodes an element of a map of mappings, or of those that wait.
func (e *element) mapping() (at groupPlace, to netip.AddrPort, ok bool) {
	r, isRole := roleOf(e.set.name)
	if !isRole {
		return e.oldMapping()
	}
	if len(e.key) != e.set.key.len() {
		return at, to, false
	}
	at.group = portGroup{r.family, r.arg}
	if r.head == standbyName || r.head == hostStandbyName {
		return e.waiting(at)
	}
	name := strings.TrimPrefix(r.head, hostName)
	if at.protocol, ok = protocolOf(name); !ok {
		return at, to, false
	}
	key := e.key
	if name != r.head {
		at.host, _ = netip.AddrFromSlice(key[:r.family.bits()/8])
		key = key[r.family.bits()/8:]
	}
	at.port = binary.BigEndian.Uint16(key)
	to, ok = target(e.data)
	return at, to, ok
}

// waiting decodes an element of a mapping that waits.
func (e *element) waiting(at groupPlace) (_ groupPlace, to netip.AddrPort, ok bool) {
	n := at.group.family.bits() / 8
	addr, _ := netip.AddrFromSlice(e.key[:n])
	key := e.key[n:]
	if len(key) > 12 {
		at.host, _ = netip.AddrFromSlice(key[:n])
		key = key[n:]
	}
	at.protocol, at.port = Protocol(key[0]), binary.BigEndian.Uint16(key[4:])
	return at, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(key[8:])), true
}

// isStandby reports whether the element's mapping waits.
func (e *element) isStandby() bool {
	r := e.set.role()
	return r.head == standbyName || r.head == hostStandbyName
}

// mapping is the mapping of a place.
func (p groupPlace) mapping(containerPort uint16) PortMapping {
	return PortMapping{Protocol: p.protocol, HostIP: p.host, HostPort: p.port, ContainerPort: containerPort}
}

// isPortSet reports whether a set is of port mappings.
func (r role) isPortSet() bool {
	return r.head != masqName && r.head != ownName && r.head != outboundName
}
