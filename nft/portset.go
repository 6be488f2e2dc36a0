// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/nftables"
)

// portKey is what the nft program calls a protocol and a port.
const portKey = "inet_proto . inet_service"

// portTypes describes a map of ports to the library.
func (k keyKind) portTypes(o *nftables.Set) {
	addr := nftables.TypeIPAddr
	if k == port6 || k == hostPort6 {
		addr = nftables.TypeIP6Addr
	}
	// Two or three types, so no error.
	o.KeyType, _ = nftables.ConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)
	if k == hostPort4 || k == hostPort6 {
		o.KeyType, _ = nftables.ConcatSetType(addr, nftables.TypeInetProto, nftables.TypeInetService)
	}
	o.DataType, _ = nftables.ConcatSetType(addr, nftables.TypeInetService)
	o.IsMap, o.KeyByteOrder = true, nil
}

// isPort reports whether keys are ports.
func (k keyKind) isPort() bool { return k >= port4 && k <= hostPort6 }

// A portFamily says how the port mappings of one family are kept. Its sets and chains, with 4 or 6 in their names:
//
//	ports4, hostports4             map protocol and port, or host address, protocol and port, to container address and port
//	ports4-CONDITIONS, …           the same for mappings that take some packets only; CONDITIONS is a hash of which
//	published4                     container addresses that have mappings: the comment says how many, and the subnet
//	hairpin4-10.1.0.0/24           addresses of this subnet that its containers, and the host by 127.0.0.1, may reach by their mappings
//	masqall4                       addresses whose mapped traffic is masqueraded wherever it's from
type portFamily byte

const (
	family4 portFamily = '4'
	family6 portFamily = '6'
)

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

// Names of sets and chains begin with these; behind it stands the family's digit.
const (
	portsName     = "ports"
	hostPortsName = "hostports"
	publishedName = "published"
	hairpinName   = "hairpin"
	masqAllName   = "masqall"
)

func (f portFamily) name(s string) string { return s + string(rune(f)) }

// ports returns the map of mappings with a suffix, the empty one or that of conditions: to the host's any address, or
// to one of them.
func (f portFamily) ports(suffix string, host bool) set {
	if host {
		return set{masqueradeTable, f.name(hostPortsName) + suffix, pick(f, hostPort4, hostPort6)}
	}
	return set{masqueradeTable, f.name(portsName) + suffix, pick(f, port4, port6)}
}

func (f portFamily) published() set { return f.addresses(publishedName, "") }
func (f portFamily) masqAll() set   { return f.addresses(masqAllName, "") }

// hairpin returns the set of a prefix's subnet, named like the masquerade sets.
func (f portFamily) hairpin(p netip.Prefix) set {
	_, subnet, _ := strings.Cut(oldMasqueradeSet(p).name, "-")
	return f.addresses(hairpinName, "-"+subnet)
}

func (f portFamily) addresses(name, suffix string) set {
	return set{masqueradeTable, f.name(name) + suffix, pick(f, address4, address6)}
}

// portSet returns the set of port mappings that has a name, if it's one.
func portSet(name string) (set, bool) {
	head, suffix, _ := strings.Cut(name, "-")
	if head == "" {
		return set{}, false
	}
	if suffix != "" {
		suffix = "-" + suffix
	}
	f := portFamily(head[len(head)-1])
	if f != family4 && f != family6 {
		return set{}, false
	}
	switch head[:len(head)-1] {
	case portsName:
		return f.ports(suffix, false), true
	case hostPortsName:
		return f.ports(suffix, true), true
	case publishedName, masqAllName, hairpinName:
		return f.addresses(head[:len(head)-1], suffix), true
	}
	return set{}, false
}

// mappingKey joins the parts of a key as the kernel does in registers of 4 bytes.
func mappingKey(host netip.Addr, p Protocol, port uint16) []byte {
	key := make([]byte, 0, 24)
	if host.IsValid() {
		key = append(key, host.AsSlice()...)
	}
	key = append(key, byte(p), 0, 0, 0)
	return append(binary.BigEndian.AppendUint16(key, port), 0, 0)
}

// targetData is a map's value.
func targetData(t netip.AddrPort) []byte {
	data := append(make([]byte, 0, 20), t.Addr().AsSlice()...)
	return append(binary.BigEndian.AppendUint16(data, t.Port()), 0, 0)
}

// mapping decodes an element of a map of ports.
func (e element) mapping() (m PortMapping, target netip.AddrPort, ok bool) {
	if !e.set.key.isPort() || len(e.key) != e.set.key.len() {
		return m, target, false
	}
	host := len(e.key) - 8
	m.HostIP, _ = netip.AddrFromSlice(e.key[:host])
	m.Protocol = Protocol(e.key[host])
	m.HostPort = binary.BigEndian.Uint16(e.key[host+4:])
	if len(e.data) < 4 {
		return m, target, false
	}
	n := len(e.data) - 4
	addr, ok := netip.AddrFromSlice(e.data[:n])
	m.ContainerPort = binary.BigEndian.Uint16(e.data[n:])
	return m, netip.AddrPortFrom(addr, m.ContainerPort), ok
}

// portText prints the key of a mapping, and what it leads to, as the nft program does.
func (e element) portText() string {
	m, target, ok := e.mapping()
	text := ""
	if m.HostIP.IsValid() {
		text = m.HostIP.String() + " . "
	}
	text += m.Protocol.String() + " . " + strconv.Itoa(int(m.HostPort))
	if ok {
		text += " : " + target.Addr().String() + " . " + strconv.Itoa(int(target.Port()))
	}
	return text
}
