// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/rtnl"
)

// checkBridge validates the configuration as the bridge plugin's, and completes it.
func (n *Network) checkBridge() error {
	k := &n.bridge
	wrong := n.wrong(ofBridge | ofLink | ofMasquerade)
	switch {
	case wrong != nil:
		return wrong
	case k.name == "":
		return badBridgeName("", "interface name is empty")
	case n.hasAddresses() && k.containerDown:
		return invalidKey("disableContainerInterface", "cannot use IPAM when DisableContainerInterface flag is set")
	case k.hairpin && k.promisc:
		return invalidKey("hairpinMode", "cannot set hairpin mode and promiscuous mode at the same time")
	case k.vlan != 0 && k.gateway() && n.hasAddresses():
		if name := vlanGatewayName(k.name, k.vlan); len(name) > names.MaxLink {
			return invalidKey("bridge", "invalid \"bridge\": its VLAN gateway "+quote(name)+" would be longer than 15 characters")
		}
	}
	if n.ipam.plugin != hostLocal {
		return nil
	}
	if err := n.checkLinkRanges(); err != nil {
		return err
	}
	for i, set := range n.ipam.sets {
		for _, r := range set {
			// One that's somebody else's needn't be: fe80::1, or a router that a route on the link leads to.
			if !r.Subnet.Contains(r.Gateway) && (k.gateway() || r.Gateway.Is4() != r.Subnet.Addr().Is4()) {
				return invalidKey("ipam", "invalid range set "+strconv.Itoa(i)+": gateway "+r.Gateway.String()+" not in network "+r.Subnet.String())
			}
		}
	}
	return nil
}

// checkLinkRanges finds what is wrong with the ranges for a link of the network.
func (n *Network) checkLinkRanges() error {
	if err := n.checkHostLocal(); err != nil {
		return err
	}
	for _, set := range n.ipam.sets {
		if err := n.bridge.carries(set[0].Subnet.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// minIPv6MTU is IPV6_MIN_MTU (linux/ipv6.h; RFC 8200, 5): of a link with less the kernel takes IPv6 away for good.
const minIPv6MTU = 1280

// carries refuses an address that a link of the MTU that's asked for can't have.
func (b *bridgeKeys) carries(addr netip.Addr) error {
	if addr.Is4() || b.mtu <= 0 || b.mtu >= minIPv6MTU {
		return nil
	}
	return invalidKey("mtu", `"mtu" is `+strconv.Itoa(b.mtu)+", and IPv6 needs "+strconv.Itoa(minIPv6MTU))
}

// checkHostLocal finds what is wrong with the ranges.
func (n *Network) checkHostLocal() error {
	if n.ipam.setsErr != nil {
		return n.ipam.setsErr
	}
	return nil
}

// ensureBridge returns the bridge's index. On the common path that's two look-ups without a lock.
func (at *attaching) ensureBridge() (int, error) {
	k := &at.network.bridge
	index, err := at.conn.Index(k.name)
	if absent(err) {
		return at.createBridge()
	}
	if err != nil {
		return 0, failed("failed to lookup "+quote(k.name), err)
	}
	flags, err := at.conn.Flags(k.name)
	if err != nil {
		return 0, failed("failed to lookup "+quote(k.name), err)
	}
	if at.bridgeMAC, err = at.conn.MAC(k.name); err != nil {
		return 0, failed("failed to lookup "+quote(k.name), err)
	}
	if !bytes.Equal(at.bridgeMAC, at.ownBridgeMAC()) {
		at.refuseAdvertisements() // as was done with one that we made
	}
	if !flags.Running {
		at.idleBridge = index
	}
	if flags.Up && (flags.Promisc || !k.promisc) && !k.filtersVLANs() {
		return index, nil
	}
	return index, at.mendBridge(index)
}

// createBridge makes the bridge. Another first attachment may do so at the same moment.
func (at *attaching) createBridge() (int, error) {
	k := &at.network.bridge
	bridge := rtnl.Bridge{
		Link: rtnl.Link{Name: k.name, MTU: max(k.mtu, 0), MAC: at.ownBridgeMAC()},
	}
	if k.filtersVLANs() {
		bridge.VLANFiltering = rtnl.On
	}
	var b rtnl.Batch
	b.Create(bridge)
	if err := at.conn.Do(&b); err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, failed("failed to create bridge "+quote(k.name)+": could not add "+quote(k.name), err)
	}
	at.newBridge = true
	index, err := at.conn.Index(k.name)
	if err != nil {
		return 0, failed("failed to create bridge "+quote(k.name), err)
	}
	at.idleBridge = index
	at.refuseAdvertisements()
	return index, at.mendBridge(index)
}

// ownBridgeMAC is the MAC of the bridges that this package makes.
func (at *attaching) ownBridgeMAC() net.HardwareAddr {
	return names.BridgeMAC(at.network.bridge.name, at.host.Boot, at.host.NetNS.Ino)
}

// refuseAdvertisements keeps a container's router advertisements from configuring the host.
func (at *attaching) refuseAdvertisements() {
	_ = sysctl.Write(sysctl.IPv6(at.network.bridge.name, "accept_ra"), "0")
}

// mendBridge makes an existing bridge what the network needs: a bridge at all, up, promiscuous, filtering.
func (at *attaching) mendBridge(index int) error {
	k := &at.network.bridge
	now, err := at.conn.Bridge(k.name)
	if errors.Is(err, rtnl.ErrNotBridge) {
		return notABridge(k.name)
	}
	if err != nil {
		return failed("failed to create bridge "+quote(k.name), err)
	}
	var b rtnl.Batch
	change := rtnl.Link{Index: index, State: rtnl.Up}
	if k.promisc {
		change.Promisc = rtnl.On
	}
	b.Set(change)
	if k.filtersVLANs() && now.VLANFiltering != rtnl.On {
		b.Set(rtnl.Bridge{Link: rtnl.Link{Index: index}, VLANFiltering: rtnl.On})
	}
	return failed("failed to create bridge "+quote(k.name), at.conn.Do(&b))
}

// pinBridge keeps the MAC of a bridge that has the gateway's address. A bridge that somebody else made may follow
// its ports' lowest; setting the MAC that it had before this port joined ends that.
func (at *attaching) pinBridge(bridge int, newGateway bool) error {
	k := &at.network.bridge
	if at.newBridge || !k.gateway() || len(at.plan.gateways) == 0 || k.vlan != 0 {
		return nil
	}
	now, err := at.conn.MAC(k.name)
	if err != nil {
		return failed("failed to lookup "+quote(k.name), err)
	}
	if !newGateway && bytes.Equal(now, at.bridgeMAC) {
		return nil
	}
	mac := at.bridgeMAC
	if bytes.Equal(mac, make([]byte, len(mac))) {
		mac = at.ownBridgeMAC() // a bridge that lost its last port has none (br_stp_recalculate_bridge_id)
	}
	var b rtnl.Batch
	b.Set(rtnl.Link{Index: bridge, MAC: mac})
	return failed("failed to set bridge addr", at.conn.Do(&b))
}

// settleGateways looks at the addresses beside the gateways that were just added to a link. One that conflicts
// goes if the configuration forces it; otherwise the gateways that this call added go again.
func (at *attaching) settleGateways(link int, name string, added []netip.Prefix) error {
	var b rtnl.Batch
	for addr, err := range at.conn.Addrs(link, 0) {
		if err != nil {
			return failed("failed to set bridge addr: list addresses of "+quote(name), err)
		}
		for _, gw := range added {
			if slices.Contains(at.plan.gateways, addr.Prefix) || !conflict(gw, addr.Prefix) {
				continue
			}
			if !at.network.bridge.forceAddress {
				at.dropAddresses(link, added)
				return addressConflict(name, gw)
			}
			b.Delete(rtnl.Addr{Link: link, Prefix: addr.Prefix})
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := at.conn.Do(&b); err != nil && !fault.OnlyAbsent(err) {
		return failed("failed to set bridge addr: remove the address that conflicts", err)
	}
	// With the primary address of a subnet the kernel removes its secondaries, the gateway maybe among them.
	b.Reset()
	for _, gw := range added {
		b.Ensure(at.network.bridge.gatewayAddr(link, gw))
	}
	return failed("failed to set bridge addr", at.conn.Do(&b))
}

func addressConflict(name string, gw netip.Prefix) error {
	return &Error{Code: CodeInternal, Key: "forceAddress",
		Msg: "failed to set bridge addr: " + quote(name) + " already has an IP address different from " + gw.String()}
}

func (at *attaching) dropAddresses(link int, list []netip.Prefix) {
	var b rtnl.Batch
	for _, p := range list {
		b.Delete(rtnl.Addr{Link: link, Prefix: p})
	}
	_ = at.conn.Do(&b)
}

// conflict reports whether an address that a bridge has stands in the way of a gateway: any other of IPv4;
// of IPv6, one whose subnet overlaps.
func conflict(gw, have netip.Prefix) bool {
	if gw.Addr().Is4() != have.Addr().Is4() {
		return false
	}
	return gw.Addr().Is4() || gw.Contains(have.Addr()) || have.Contains(gw.Addr())
}
