// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// bridgeHostSide makes the link and joins the bridge: one send when the bridge is as it should be.
func bridgeHostSide(at *attaching) error {
	t := bridge{at.keys.conf}
	uplink, _, err := t.findUplink(at.conn)
	if err != nil {
		return err
	}
	if err := at.forwarding(); err != nil {
		return err
	}
	index, err := t.ensure(at)
	if err == nil {
		err = t.join(at, uplink, index)
	}
	if err != nil {
		return err
	}
	var b rtnl.Batch
	t.hostBatch(at.plan, &b, index, at.container)
	at.undo.Push("link", at.removeLink)
	added, err := t.sortRefusals(at, at.conn.Do(&b), t.own(at.plan))
	return t.settle(at, index, added, err)
}

func bridgeAnswered(at *attaching) []func() error {
	gatewaySide := func() error { return bridge{at.keys.conf}.gatewaySide(at) }
	return []func() error{at.containerSide, gatewaySide, at.rules}
}

// gatewaySide is the part of bridgeHostSide that has to wait for an IPAM plugin's answer.
func (t bridge) gatewaySide(at *attaching) error {
	if len(at.plan.gateways) == 0 {
		return nil
	}
	at.enter(calls.Links)
	if err := at.forwarding(); err != nil {
		return err
	}
	index, err := at.conn.Index(t.conf.Bridge.Name)
	if err != nil {
		return fault.Wrap("failed to lookup "+strconv.Quote(t.conf.Bridge.Name), err)
	}
	var b rtnl.Batch
	t.gatewayBatch(at.plan, &b, index)
	added, err := t.sortRefusals(at, at.conn.Do(&b), t.own(at.plan))
	return t.settle(at, index, added, err)
}

// settle does what is to be done once the bridge has its gateways. err is of those that it was to
// get, added those that it didn't have: the first attachment's, or such as conflict with an address
// that it has.
func (t bridge) settle(at *attaching, index int, added []netip.Prefix, err error) error {
	k := &t.conf.Bridge
	if len(added) > 0 {
		err = errors.Join(err, t.settleGateways(at, index, k.Name, added))
	}
	if err != nil {
		return err
	}
	if err := t.pin(at, index, len(added) > 0); err != nil {
		return err
	}
	if k.VLAN == 0 {
		at.tellHost(index)
	} else if len(at.plan.gateways) > 0 {
		return t.ensureVLANGateway(at, index)
	}
	return nil
}

// sortRefusals tells the refusals of the host's batch that are expected from those that end the
// attempt. The first steps add gateways, which usually are there; those that weren't are returned.
func (t bridge) sortRefusals(at *attaching, err error, gateways []netip.Prefix) (added []netip.Prefix, _ error) {
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return nil, fault.Wrap("attach to the bridge", err)
	}
	present := make([]bool, len(gateways))
	var first error
	for _, e := range refused {
		switch {
		case e.Step < len(gateways):
			present[e.Step] = true
			if !errors.Is(e, fs.ErrExist) && first == nil {
				first = t.gatewayRefused(at, e)
			}
		case first != nil: // what follows a refusal is refused in its wake
		case e.Step == len(gateways):
			first = t.linkRefused(at, e)
		case e.Step == len(gateways)+1:
			// What the host end is called outside, and that it needs no IPv6 address: a kernel
			// without IPv6 refuses that, and the attachment works all the same.
		default:
			first = fault.Wrap("set up the bridge port", e)
		}
	}
	for i, gw := range gateways {
		if !present[i] {
			added = append(added, gw)
		}
	}
	return added, first
}

// linkRefused explains why the pair of links couldn't be made, or joined to the bridge.
func (t bridge) linkRefused(at *attaching, e *rtnl.Error) error {
	err := at.linkRefused(e)
	name := t.conf.Bridge.Name
	switch e.Errno {
	case unix.EXFULL:
		return &spec.Error{Code: spec.CodeTryAgain, Err: e, Key: "bridge",
			Msg: "bridge " + strconv.Quote(name) + " is full: a Linux bridge takes 1023 ports (" + e.Error() + ")"}
	case unix.EOPNOTSUPP:
		if l, err := at.conn.Link(name); err == nil && l.Kind != "bridge" {
			return notABridge(name)
		}
	}
	return err
}

func notABridge(name string) error {
	return fault.Key("bridge", "failed to create bridge "+strconv.Quote(name)+": "+strconv.Quote(name)+" already exists but is not a bridge")
}

func (t bridge) gatewayRefused(at *attaching, e *rtnl.Error) error {
	name := t.conf.Bridge.Name
	if errors.Is(e, fs.ErrPermission) {
		if v, err := sysctl.Read(sysctl.IPv6(name, "disable_ipv6")); err == nil && v == "1" {
			return &spec.Error{Code: spec.CodeInternal, Err: e, Msg: "failed to set bridge addr: IPv6 is disabled on " + strconv.Quote(name)}
		}
	}
	if errors.Is(e, unix.EINVAL) {
		if l, err := at.conn.Link(name); err == nil && l.MTU < endpoint.MinIPv6MTU && bridgeForwards(at.plan, false) {
			return &spec.Error{Code: spec.CodeInternal, Err: e, Msg: "failed to set bridge addr: invalid argument",
				Details: strconv.Quote(name) + " has an MTU of " + strconv.Itoa(l.MTU) + ", and IPv6 needs " + strconv.Itoa(endpoint.MinIPv6MTU)}
		}
	}
	return fault.Wrap("failed to set bridge addr", e)
}

// ensure returns the bridge's index. On the common path that's two look-ups without a lock.
func (t bridge) ensure(at *attaching) (int, error) {
	k := &t.conf.Bridge
	index, err := at.conn.Index(k.Name)
	if fault.Absent(err) {
		return t.create(at)
	}
	if err != nil {
		return 0, fault.Wrap("failed to lookup "+strconv.Quote(k.Name), err)
	}
	flags, err := at.conn.Flags(k.Name)
	if err != nil {
		return 0, fault.Wrap("failed to lookup "+strconv.Quote(k.Name), err)
	}
	if at.bridgeMAC, err = at.conn.MAC(k.Name); err != nil {
		return 0, fault.Wrap("failed to lookup "+strconv.Quote(k.Name), err)
	}
	if !bytes.Equal(at.bridgeMAC, t.ownMAC(at)) {
		t.refuseAdvertisements() // as was done with one that we made
	}
	if !flags.Running {
		at.idleBridge = index
	}
	if flags.Up && (flags.Promisc || !k.Promisc) && !k.FiltersVLANs() && k.GroupFwdMask == 0 {
		return index, nil
	}
	return index, t.mend(at, index)
}

// create makes the bridge. Another first attachment may do so at the same moment.
func (t bridge) create(at *attaching) (int, error) {
	k := &t.conf.Bridge
	made := rtnl.Bridge{
		Link:         rtnl.Link{Name: k.Name, MTU: at.mtu, MAC: t.ownMAC(at)},
		GroupFwdMask: uint16(k.GroupFwdMask),
	}
	if k.FiltersVLANs() {
		made.VLANFiltering = rtnl.On
	}
	var b rtnl.Batch
	b.Create(made)
	quoted := strconv.Quote(k.Name)
	if err := at.conn.Do(&b); err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, fault.Wrap("failed to create bridge "+quoted+": could not add "+quoted, err)
	}
	at.newBridge = true
	index, err := at.conn.Index(k.Name)
	if err != nil {
		return 0, fault.Wrap("failed to create bridge "+quoted, err)
	}
	at.idleBridge = index
	t.refuseAdvertisements()
	return index, t.mend(at, index)
}

// ownMAC is the MAC of a bridge that this package makes.
func (t bridge) ownMAC(at *attaching) net.HardwareAddr {
	return names.BridgeMAC(t.conf.Bridge.Name, at.host.Boot, at.host.NetNS.Ino)
}

// refuseAdvertisements keeps a container's router advertisements from configuring the host.
func (t bridge) refuseAdvertisements() {
	_ = sysctl.Write(sysctl.IPv6(t.conf.Bridge.Name, "accept_ra"), "0")
}

// mend makes an existing bridge what the network needs: a bridge at all, up, promiscuous,
// filtering, with its mask of groups.
func (t bridge) mend(at *attaching, index int) error {
	k := &t.conf.Bridge
	now, err := at.conn.Bridge(k.Name)
	if errors.Is(err, rtnl.ErrNotBridge) {
		return notABridge(k.Name)
	}
	if err != nil {
		return fault.Wrap("failed to create bridge "+strconv.Quote(k.Name), err)
	}
	var b rtnl.Batch
	change := rtnl.Link{Index: index, State: rtnl.Up}
	if k.Promisc {
		change.Promisc = rtnl.On
	}
	b.Set(change)
	if k.FiltersVLANs() && now.VLANFiltering != rtnl.On {
		b.Set(rtnl.Bridge{Link: rtnl.Link{Index: index}, VLANFiltering: rtnl.On})
	}
	if mask := uint16(k.GroupFwdMask); mask != 0 && now.GroupFwdMask != mask {
		b.Set(rtnl.Bridge{Link: rtnl.Link{Index: index}, GroupFwdMask: mask})
	}
	return fault.Wrap("failed to create bridge "+strconv.Quote(k.Name), at.conn.Do(&b))
}

// pin keeps the MAC of a bridge that has the gateway's address. A bridge that somebody else made
// may follow its ports' lowest; setting the MAC that it had before this port joined ends that.
func (t bridge) pin(at *attaching, index int, newGateway bool) error {
	k := &t.conf.Bridge
	if at.newBridge || !k.Gateway() || len(at.plan.gateways) == 0 || k.VLAN != 0 {
		return nil
	}
	now, err := at.conn.MAC(k.Name)
	if err != nil {
		return fault.Wrap("failed to lookup "+strconv.Quote(k.Name), err)
	}
	if !newGateway && bytes.Equal(now, at.bridgeMAC) {
		return nil
	}
	mac := at.bridgeMAC
	if bytes.Equal(mac, make([]byte, len(mac))) {
		mac = t.ownMAC(at) // a bridge that lost its last port has none (br_stp_recalculate_bridge_id)
	}
	var b rtnl.Batch
	b.Set(rtnl.Link{Index: index, MAC: mac})
	return fault.Wrap("failed to set bridge addr", at.conn.Do(&b))
}

// settleGateways looks at the addresses beside the gateways that were just added to a link. One
// that conflicts goes if the configuration forces it; otherwise the gateways that this call added
// go again.
func (t bridge) settleGateways(at *attaching, link int, name string, added []netip.Prefix) error {
	var b rtnl.Batch
	for addr, err := range at.conn.Addrs(link, 0) {
		if err != nil {
			return fault.Wrap("failed to set bridge addr: list addresses of "+strconv.Quote(name), err)
		}
		for _, gw := range added {
			if slices.Contains(at.plan.gateways, addr.Prefix) || !conflict(gw, addr.Prefix) {
				continue
			}
			if !t.conf.Bridge.ForceAddress {
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
		return fault.Wrap("failed to set bridge addr: remove the address that conflicts", err)
	}
	// With the primary address of a subnet the kernel removes its secondaries, the gateway maybe
	// among them.
	b.Reset()
	for _, gw := range added {
		b.Ensure(t.gatewayAddr(link, gw))
	}
	return fault.Wrap("failed to set bridge addr", at.conn.Do(&b))
}

func (at *attaching) dropAddresses(link int, list []netip.Prefix) {
	var b rtnl.Batch
	for _, p := range list {
		b.Delete(rtnl.Addr{Link: link, Prefix: p})
	}
	_ = at.conn.Do(&b)
}
