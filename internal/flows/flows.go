// SPDX-License-Identifier: Apache-2.0

// Package flows ends flows of UDP and SCTP that would otherwise continue by port mappings that are gone.
package flows

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/conntrack"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A tracked flow continues as it began, whatever is mapped by now. So flows that began under other mappings are
// ended. Those of TCP needn't be: a client that begins anew has another port. UDP knows no beginning, and many
// clients of SCTP have a port of their own. The mappings are right whether that works or not, so a failure isn't
// a failure of the verb.

// continuing are the protocols whose flows are ended.
func continuing() [2]nft.Protocol { return [2]nft.Protocol{nft.UDP, nft.SCTP} }

// mostMatches is the number from which one walk through all flows is cheaper than naming them, at
// 0.1 ms each.
const mostMatches = 64

// ports are mapped ports of one family and one protocol: from the host's address (or the zero one) and port
// to their target.
type ports struct {
	protocol nft.Protocol
	targets  map[netip.AddrPort]netip.AddrPort
}

func portsOf(protocol nft.Protocol) ports {
	return ports{protocol, map[netip.AddrPort]netip.AddrPort{}}
}

func (p ports) add(m nft.PortMapping, target netip.AddrPort) {
	if m.Protocol != p.protocol || m.HostIP.IsValid() && m.HostIP.Is4() != target.Addr().Is4() {
		return
	}
	host := m.HostIP
	if host.IsUnspecified() {
		host = netip.Addr{}
	}
	p.targets[netip.AddrPortFrom(host, m.HostPort)] = target
}

// target returns the target of a flow to one of the host's addresses.
func (p ports) target(dst netip.AddrPort) (netip.AddrPort, bool) {
	if t, ok := p.targets[dst]; ok {
		return t, true
	}
	t, ok := p.targets[netip.AddrPortFrom(netip.Addr{}, dst.Port())]
	return t, ok
}

// EndStale ends flows to ports that are mapped now and that lead elsewhere: to an earlier
// container, or to the host itself. It leaves two kinds of flows to the same ports alone: those
// that only pass through the host, and those to ports that another attachment of the container has,
// for which this one waits.
func EndStale(call *process.Call, p nft.Publication, waiting []nft.PortTakenError) {
	for _, protocol := range continuing() {
		for _, a := range p.Addrs {
			mapped := portsOf(protocol)
			for _, m := range p.Ports {
				if !slices.ContainsFunc(waiting, func(w nft.PortTakenError) bool { return w.Mapping.HostText() == m.HostText() }) {
					mapped.add(m, netip.AddrPortFrom(a.Addr(), m.ContainerPort))
				}
			}
			if len(mapped.targets) > 0 && !endStale(call, mapped, a.Addr().Is6()) {
				return
			}
		}
	}
}

// endStale ends the flows to mapped ports. It reports whether the host's addresses could be asked for.
func endStale(call *process.Call, mapped ports, ipv6 bool) bool {
	conn, err := call.Route()
	if err != nil {
		return false
	}
	defer call.CloseRoute(conn)
	endFlows(call, mapped.protocol, hostMatches(conn, mapped, ipv6), ipv6, false, func(f conntrack.Flow) bool {
		target, ok := mapped.target(f.Dst)
		if !ok || f.ReplySrc == target || f.Translated {
			return ok && f.ReplySrc != target
		}
		_, local, err := conn.RouteTo(f.Dst.Addr())
		return err == nil && local
	})
	return true
}

// canName reports whether flows can be named by a conntrack.Match.
func canName(protocol nft.Protocol, ipv6 bool) bool { return protocol == nft.UDP && !ipv6 }

// hostMatches names the flows to ports on the host's IPv4 addresses. It's nil if there are too many
// to name, or if they can't be named.
func hostMatches(conn *rtnl.Conn, mapped ports, ipv6 bool) []conntrack.Match {
	if !canName(mapped.protocol, ipv6) {
		return nil
	}
	var addrs []netip.Addr
	var list []conntrack.Match
	for at := range mapped.targets {
		hosts := []netip.Addr{at.Addr()}
		if !at.Addr().IsValid() {
			if addrs == nil {
				for a, err := range conn.Addrs(0, unix.AF_INET) {
					if err != nil {
						return nil
					}
					addrs = append(addrs, a.Prefix.Addr())
				}
			}
			hosts = addrs
		}
		for _, h := range hosts {
			list = append(list, conntrack.Match{Protocol: uint8(mapped.protocol), Dst: netip.AddrPortFrom(h, at.Port())})
		}
		if len(list) > mostMatches {
			return nil
		}
	}
	return list
}

// EndRemoved ends flows to containers by mappings that are gone.
func EndRemoved(call *process.Call, removed []nft.Published) {
	if len(removed) == 0 {
		return
	}
	for _, protocol := range continuing() {
		for _, ipv6 := range []bool{false, true} {
			endRemoved(call, removed, protocol, ipv6)
		}
	}
}

func endRemoved(call *process.Call, removed []nft.Published, protocol nft.Protocol, ipv6 bool) {
	mapped := portsOf(protocol)
	gone := map[netip.AddrPort]bool{} // the containers' ends
	var matches []conntrack.Match
	for _, r := range removed {
		if r.Mapping.Protocol != protocol || r.Target.Addr().Is6() != ipv6 {
			continue
		}
		mapped.add(r.Mapping, r.Target)
		gone[r.Target] = true
		matches = append(matches, conntrack.Match{Protocol: uint8(protocol), ReplySrc: r.Target,
			Dst: netip.AddrPortFrom(r.Mapping.HostIP, r.Mapping.HostPort)})
	}
	if len(mapped.targets) == 0 {
		return
	}
	if !canName(protocol, ipv6) || len(matches) > mostMatches {
		matches = nil
	}
	endFlows(call, protocol, matches, ipv6, true, func(f conntrack.Flow) bool {
		_, ok := mapped.target(f.Dst)
		return ok && f.Translated && gone[f.ReplySrc]
	})
}

// endFlows ends the flows that match. gone says that elements have gone lately. If the kernel can't
// find flows by their match, it goes through all of the protocol for stale ones.
func endFlows(call *process.Call, protocol nft.Protocol, matches []conntrack.Match, ipv6, gone bool, stale func(conntrack.Flow) bool) {
	conn, err := call.Flows()
	if err != nil {
		return
	}
	defer call.CloseFlows(conn, gone)
	named := matches != nil
	for _, m := range matches {
		if err := conn.End(m); errors.Is(err, errors.ErrUnsupported) {
			named = false
			break
		}
	}
	if !named {
		_, _ = conn.Forget(conntrack.Filter{IPv6: ipv6, Protocol: uint8(protocol)}, stale)
	}
}
