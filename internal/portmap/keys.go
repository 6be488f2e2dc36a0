// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
)

// Keys are the plugin's own. err is the first wrong one. The keys that DEL uses are read all the
// same.
type Keys struct {
	ports      []nft.PortMapping
	backend    string
	snat       bool
	masqAll    bool
	markBit    int
	hasMarkBit bool
	markChain  string
	words      [2][]string // conditionsV4, conditionsV6
	conditions [2][]nft.Condition
	err        *spec.Error
}

// conditionKeys are the keys of the conditions, by family.
var conditionKeys = [2]string{"conditionsV4", "conditionsV6"}

// Read reads the plugin's keys.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{snat: true}
	var mappings []mapping
	err := r.Object(func(key string) error { return k.field(r, key, &mappings) })
	k.err = fault.First(r, err)
	problems := []func() *spec.Error{k.checkMarks, k.checkBackend, func() *spec.Error { return k.checkPorts(mappings) }}
	if len(mappings) > 0 { // without mappings the conditions don't matter
		problems = append(problems, k.checkConditions)
	}
	for _, problem := range problems {
		if err := problem(); k.err == nil {
			k.err = err
		}
	}
	return k
}

// Wrong is the first key that is wrong.
func (k *Keys) Wrong(spec.Attachment) *spec.Error { return k.err }

// field reads one key of the top level.
func (k *Keys) field(r *jsontext.Reader, key string, mappings *[]mapping) (err error) {
	switch key {
	case "backend":
		k.backend = ""
		return r.Str(&k.backend)
	case "snat":
		k.snat = true
		return r.Bool(&k.snat)
	case "masqall":
		return r.Bool(&k.masqAll)
	case "markmasqbit":
		k.markBit, k.hasMarkBit, err = r.Whole()
	case "externalsetmarkchain":
		k.markChain = ""
		return r.Str(&k.markChain)
	case "conditionsv4":
		_, err = r.Strs(&k.words[0])
	case "conditionsv6":
		_, err = r.Strs(&k.words[1])
	case "runtimeconfig":
		return r.Object(func(key string) error {
			if key != "portmappings" {
				return nil
			}
			*mappings = nil
			_, err := r.List(func() error {
				m := mapping{path: r.Path()}
				err := r.Object(func(key string) error { return m.field(r, key) })
				*mappings = append(*mappings, m)
				return err
			})
			return err
		})
	}
	return err
}

// mapping is a mapping as it's written.
type mapping struct {
	path                    string
	hostPort, containerPort int
	protocol                string
	hostIP                  string
}

func (m *mapping) field(r *jsontext.Reader, key string) error {
	switch key {
	case "hostport":
		return r.Integer(&m.hostPort)
	case "containerport":
		return r.Integer(&m.containerPort)
	case "protocol":
		return r.Str(&m.protocol)
	case "hostip":
		return r.Str(&m.hostIP)
	}
	return nil
}

// parse returns the mapping, or the error for its wrong key.
func (m *mapping) parse() (p nft.PortMapping, err *spec.Error) {
	wrong := func(key, msg, expected string) (nft.PortMapping, *spec.Error) {
		return p, fault.Expected(m.path+"."+key, msg, expected)
	}
	for _, port := range []struct {
		key, name string
		n         int
		to        *uint16
	}{{"hostPort", "host", m.hostPort, &p.HostPort}, {"containerPort", "container", m.containerPort, &p.ContainerPort}} {
		if port.n < 1 || port.n > 65535 {
			return wrong(port.key, "Invalid "+port.name+" port number: "+strconv.Itoa(port.n), "1 to 65535")
		}
		*port.to = uint16(port.n)
	}
	switch strings.ToLower(m.protocol) {
	case "tcp":
		p.Protocol = nft.TCP
	case "udp":
		p.Protocol = nft.UDP
	case "sctp":
		p.Protocol = nft.SCTP
	default:
		return wrong("protocol", "unknown protocol "+strconv.Quote(m.protocol), `"tcp", "udp" or "sctp"`)
	}
	if m.hostIP != "" {
		a, err := netip.ParseAddr(m.hostIP)
		if err != nil || a.Zone() != "" {
			return wrong("hostIP", "invalid host address "+strconv.Quote(m.hostIP), "an IP address")
		}
		p.HostIP = a.Unmap()
	}
	return p, nil
}

// checkPorts keeps the right mappings, and returns the error for the first wrong one.
func (k *Keys) checkPorts(mappings []mapping) (first *spec.Error) {
	note := func(e *spec.Error) {
		if first == nil {
			first = e
		}
	}
	type mapped struct {
		port uint16
		path string
	}
	seen := map[nft.PortPlace]mapped{}
	for _, m := range mappings {
		p, err := m.parse()
		if err != nil {
			note(err)
			continue
		}
		var fresh []nft.PortPlace
		for _, at := range p.Places() {
			switch before, is := seen[at]; {
			case !is:
				fresh = append(fresh, at)
				seen[at] = mapped{p.ContainerPort, m.path}
			case before.port != p.ContainerPort:
				note(fault.Key(m.path, "host port "+p.HostText()+" is mapped twice: by "+before.path+" and "+m.path))
			}
		}
		// The same mapping twice counts once, also if one is for any address and the other for
		// 0.0.0.0.
		switch {
		case len(fresh) == len(p.Places()):
			k.ports = append(k.ports, p)
		case len(fresh) > 0:
			p.HostIP = netip.IPv4Unspecified()
			if fresh[0].IPv6 {
				p.HostIP = netip.IPv6Unspecified()
			}
			k.ports = append(k.ports, p)
		}
	}
	return first
}

func (k *Keys) checkMarks() *spec.Error {
	switch {
	case k.markChain != "" && k.hasMarkBit:
		return fault.Key("externalSetMarkChain", "Cannot specify externalSetMarkChain and markMasqBit")
	case k.hasMarkBit && (k.markBit < 0 || k.markBit > 31):
		return fault.Expected("markMasqBit", "MasqMarkBit must be between 0 and 31", "that, got "+strconv.Itoa(k.markBit))
	}
	return nil
}

func (k *Keys) checkBackend() *spec.Error {
	var iptables, nftables []string
	for i, words := range k.words {
		switch {
		case len(words) == 0:
		case iptablesSyntax(words):
			iptables = append(iptables, conditionKeys[i])
		default:
			nftables = append(nftables, conditionKeys[i])
		}
	}
	mixed := func(backend, other string, keys []string) *spec.Error {
		return fault.Expected(keys[0], backend+" backend was requested but configuration contains "+other+"-specific options ["+strings.Join(keys, " ")+"]", "")
	}
	switch k.backend {
	case "":
	case "iptables":
		if nftables != nil {
			return mixed("iptables", "nftables", nftables)
		}
	case "nftables":
		if k.markChain != "" {
			iptables = append([]string{"externalSetMarkChain"}, iptables...)
		}
		if iptables != nil {
			return mixed("nftables", "iptables", iptables)
		}
	default:
		return fault.Expected("backend", "unrecognized backend "+strconv.Quote(k.backend), `"iptables" or "nftables"`)
	}
	return nil
}
