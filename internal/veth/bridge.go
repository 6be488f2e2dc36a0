// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// bridge is the topology in which the host end is a port of a bridge, which may have the gateway's
// address.
type bridge struct{ conf *netconf.Network }

var bridgeSide = topology{
	problem: bridgeProblem, admit: bridgeAdmit,
	complete: bridgeComplete, refuse: bridgeRefuse, forwards: bridgeForwards,
	hostSide: bridgeHostSide, answered: bridgeAnswered, interfaces: bridgeInterfaces,
	look: bridgeLook, status: bridgeStatus, neighbourLink: bridgeNeighbourLink, tell: bridgeTell,
}

// A Bridge is the plugin bridge, which can attach many containers at once.
type Bridge struct{ Keys }

// ReadBridge reads the keys of the plugin bridge.
func ReadBridge(n *netconf.Network) verbs.Plugin {
	b := &n.Bridge
	return &Bridge{Keys{conf: n, place: 2, shared: true, guard: b.MACSpoofCheck, dad: b.DAD, down: b.ContainerDown}}
}

func bridgeProblem(n *netconf.Network) error {
	k := &n.Bridge
	wrong := n.Wrong(netconf.OfBridge | netconf.OfLink | netconf.OfMasquerade)
	switch {
	case wrong != nil:
		return wrong
	case n.HasAddresses() && k.ContainerDown:
		return fault.Key("disableContainerInterface", "cannot use IPAM when DisableContainerInterface flag is set")
	case k.Hairpin && k.Promisc:
		return fault.Key("hairpinMode", "cannot set hairpin mode and promiscuous mode at the same time")
	case k.VLAN != 0 && k.Gateway() && n.HasAddresses():
		if name := (bridge{n}).vlanGateway(); len(name) > names.MaxLink {
			return fault.Key("bridge", "invalid \"bridge\": its VLAN gateway "+strconv.Quote(name)+" would be longer than 15 characters")
		}
	}
	if err := outboundProblem(n); err != nil || n.IPAM.Plugin != netconf.HostLocal {
		return err
	}
	if err := checkRanges(n); err != nil {
		return err
	}
	for i, set := range n.IPAM.Sets {
		for _, r := range set {
			// One that's somebody else's needn't be: fe80::1, or a router that a route on the link
			// leads to.
			if !r.Subnet.Contains(r.Gateway) && (k.Gateway() || r.Gateway.Is4() != r.Subnet.Addr().Is4()) {
				return fault.Key("ipam", "invalid range set "+strconv.Itoa(i)+": gateway "+r.Gateway.String()+" not in network "+r.Subnet.String())
			}
		}
	}
	return nil
}

func bridgeAdmit(n *netconf.Network, a spec.Attachment) (net.HardwareAddr, error) {
	if n.Version().Form() == specversion.Legacy && !n.HasAddresses() {
		_, err := (&spec.Result{CNIVersion: n.CNIVersion}).MarshalJSON() // which has no form
		return nil, err
	}
	if a.IfName == n.Bridge.Name && a.SharedNetNS {
		return nil, &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: "CNI_IFNAME is the bridge's own name " + strconv.Quote(a.IfName), Key: "CNI_IFNAME"}
	}
	mac, err := n.MAC(a)
	if err != nil {
		return nil, err
	}
	return mac, nil
}

// bridgeComplete names the bridge as the gateway where it's that and IPAM names none, and adds the
// default routes.
func bridgeComplete(p *plan) {
	t := bridge{p.keys.conf}
	k := &t.conf.Bridge
	for i := range p.IPs {
		ip := &p.IPs[i]
		if k.Gateway() && !result.HasGateway(ip) {
			ip.Gateway = ip.Address.Masked().Addr().Next()
		}
	}
	p.gateways = t.gatewaysOf(p.IPs)
	if k.IsDefaultGateway {
		p.addDefaultRoutes()
	}
}

// gatewaysOf lists the gateways of addresses that the bridge gets, each once. Two that conflict
// with each other can't both be there: forceAddress lets the last one win, and without it refuse
// doesn't let them pass.
func (t bridge) gatewaysOf(ips []spec.IP) (list []netip.Prefix) {
	if !t.conf.Bridge.Gateway() {
		return nil
	}
	for _, ip := range ips {
		gw := netip.PrefixFrom(ip.Gateway, ip.Address.Bits())
		if !gw.IsValid() || slices.Contains(list, gw) {
			continue
		}
		if t.conf.Bridge.ForceAddress {
			list = slices.DeleteFunc(list, func(other netip.Prefix) bool { return conflict(gw, other) })
		}
		list = append(list, gw)
	}
	return list
}

// conflict reports whether an address that a bridge has stands in the way of a gateway: any other
// of IPv4; of IPv6, one whose subnet overlaps.
func conflict(gw, have netip.Prefix) bool {
	if gw.Addr().Is4() != have.Addr().Is4() {
		return false
	}
	return gw.Addr().Is4() || gw.Contains(have.Addr()) || have.Contains(gw.Addr())
}

// addDefaultRoutes adds one default route for each family that has none.
func (p *plan) addDefaultRoutes() {
	for _, all := range []netip.Prefix{
		netip.PrefixFrom(netip.IPv4Unspecified(), 0),
		netip.PrefixFrom(netip.IPv6Unspecified(), 0),
	} {
		gw := p.GatewayOf(all.Addr().Is4())
		if !gw.IsValid() || p.hasDefaultRoute(all) {
			continue
		}
		p.Routes = append(p.Routes, spec.Route{Dst: all, Gateway: gw})
	}
}

// hasDefaultRoute reports whether a default route is given. One that names no gateway counts only
// if the kernel would take it for the same as ours: in another table, or of another priority, both
// can be there.
func (p *plan) hasDefaultRoute(dst netip.Prefix) bool {
	return slices.ContainsFunc(p.Routes, func(r spec.Route) bool {
		k := endpoint.Route(&r, 0, netip.Addr{})
		return k.Dst == dst && (k.Gateway.IsValid() || (k.Table == 0 || k.Table == rtnl.TableMain) && k.Priority == 0)
	})
}

// bridgeRefuse finds gateways that conflict with each other, and addresses that the link can't have.
func bridgeRefuse(p *plan) error {
	if err := p.CheckMTU(p.mtu); err != nil {
		return err
	}
	for i, gw := range p.gateways {
		for _, other := range p.gateways[:i] {
			if conflict(gw, other) {
				return addressConflict(p.keys.conf.Bridge.Name, gw)
			}
		}
	}
	return nil
}

func addressConflict(name string, gw netip.Prefix) error {
	return &spec.Error{Code: spec.CodeInternal, Key: "forceAddress",
		Msg: "failed to set bridge addr: " + strconv.Quote(name) + " already has an IP address different from " + gw.String()}
}

func bridgeForwards(p *plan, four bool) bool {
	return slices.ContainsFunc(p.gateways, func(gw netip.Prefix) bool { return gw.Addr().Is4() == four })
}

// hostBatch makes the pair of links and joins the bridge, whose index is given, in one send. The
// gateway addresses go first: that they are there already, as from the second attachment on, is a
// refusal that the runner expects, and the only way to know it that costs neither a dump nor a
// round trip.
func (t bridge) hostBatch(p *plan, b *rtnl.Batch, index int, container *rtnl.NetNS) {
	t.gatewayBatch(p, b, index)
	t.portBatch(p, b, index, container)
}

func (t bridge) gatewayBatch(p *plan, b *rtnl.Batch, index int) {
	for _, gw := range t.own(p) {
		b.Create(t.gatewayAddr(index, gw))
	}
}

// portBatch is hostBatch without the bridge's addresses.
func (t bridge) portBatch(p *plan, b *rtnl.Batch, index int, container *rtnl.NetNS) {
	k := &t.conf.Bridge
	b.Create(p.veth(index, container))
	// The host end needs no address of its own: one would cost its share of every neighbour's
	// multicast. What it's called outside is for people, and for whoever must find out whose it is.
	b.Set(rtnl.Link{Index: p.names.Index, Alias: names.Alias(p.owner()), LinkLocal: rtnl.Off})
	if k.Hairpin || k.Isolated {
		b.Set(rtnl.Port{Link: p.names.Index, Hairpin: rtnl.OnOff(k.Hairpin), Isolated: rtnl.OnOff(k.Isolated)})
	}
	if k.FiltersVLANs() {
		portVLANs(b, p.names.Index, k.VLAN, k.Trunk, k.KeepDefaultVLAN)
	}
	b.Set(p.hostEndUp())
}

// gatewayAddr is a gateway on the bridge. Its first containers shouldn't wait until it's found to
// be unique.
func (t bridge) gatewayAddr(link int, gw netip.Prefix) rtnl.Addr {
	return rtnl.Addr{Link: link, Prefix: gw, NoDAD: gw.Addr().Is6() && !t.conf.Bridge.DAD}
}

// own are the addresses of the bridge itself: with a VLAN they belong to a link of that VLAN.
func (t bridge) own(p *plan) []netip.Prefix {
	if t.conf.Bridge.VLAN != 0 {
		return nil
	}
	return p.gateways
}

// bridgeInterfaces are bridge, host end and container's link. Everything was chosen, but for the bridge's
// MAC.
func bridgeInterfaces(at *attaching) ([]spec.Interface, error) {
	t := bridge{at.keys.conf}
	p, k := at.plan, &t.conf.Bridge
	mac, err := at.conn.MAC(k.Name)
	if err != nil {
		return nil, fault.Wrap("failed to lookup "+strconv.Quote(k.Name), err)
	}
	list := []spec.Interface{
		{Name: k.Name, MAC: mac.String()},
		{Name: p.names.Link, MAC: p.names.MAC.String()},
		{Name: at.attachment.IfName, MAC: p.mac.String(), Sandbox: at.attachment.NetNS},
	}
	if k.VLAN != 0 && len(p.gateways) > 0 {
		name := t.vlanGateway()
		mac, err := at.conn.MAC(name)
		if err != nil {
			return nil, fault.Wrap("failed to lookup "+strconv.Quote(name), err)
		}
		list = append(list, spec.Interface{Name: name, MAC: mac.String()})
	}
	return list, nil
}

func bridgeNeighbourLink(n *netconf.Network) string {
	if n.Bridge.VLAN != 0 {
		return bridge{n}.vlanGateway()
	}
	return n.Bridge.Name
}

func bridgeTell(n *netconf.Network, f *facts.Plugin) {
	k := &n.Bridge
	f.Bridge, f.Gateway = k.Name, k.Gateway()
	f.Outbound = n.Link.Outbound
	f.Masquerade, f.Masquerade6, f.SpoofCheck = n.Link.IPMasq, n.Link.Masquerades(false), k.MACSpoofCheck
	if !k.Gateway() || k.VLAN != 0 || n.IPAM.Plugin != netconf.HostLocal {
		return
	}
	for _, set := range n.IPAM.Sets {
		for _, r := range set {
			f.Gateways = append(f.Gateways, netip.PrefixFrom(r.Gateway, r.Subnet.Bits()))
		}
	}
}
