// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/rtnl"
)

func bridgeLook(c *checking) error {
	t := bridge{c.keys.conf}
	bridge, port := func() error { return t.lookAtBridge(c) }, func() error { return t.lookAtPort(c) }
	gateways := func() error { return t.lookAtGateways(c) }
	return inOrder(bridge, c.checkContainer, c.findHostEnd, port, c.checkEnd, gateways, c.checkRules)
}

func (t bridge) lookAtBridge(c *checking) error {
	k := &t.conf.Bridge
	recorded := slices.IndexFunc(c.prev.Interfaces, func(i spec.Interface) bool { return i.Name == k.Name && i.Sandbox == "" })
	l, err := c.host.Link(k.Name)
	switch {
	case err != nil:
		return fault.Wrap("failed to lookup bridge "+strconv.Quote(k.Name), err)
	case l.Kind != "bridge":
		return fault.Wrong(strconv.Quote(k.Name) + " is not a bridge")
	case recorded < 0:
		return fault.Wrong("prevResult has no bridge interface " + strconv.Quote(k.Name))
	case c.prev.Interfaces[recorded].MAC != "" && c.prev.Interfaces[recorded].MAC != l.MAC.String():
		return fault.Wrong("bridge " + strconv.Quote(k.Name) + " MAC " + l.MAC.String() + " doesn't match prevResult's " + c.prev.Interfaces[recorded].MAC)
	case k.Promisc && l.Promisc != rtnl.On:
		return fault.Wrong("bridge " + strconv.Quote(k.Name) + " isn't promiscuous")
	}
	c.bridge = l
	if k.GroupFwdMask != 0 {
		now, err := c.host.Bridge(k.Name)
		if err != nil {
			return fault.Wrap("failed to lookup bridge "+strconv.Quote(k.Name), err)
		}
		if int(now.GroupFwdMask) != k.GroupFwdMask {
			return fault.Wrong("bridge " + strconv.Quote(k.Name) + " has the group_fwd_mask " + strconv.Itoa(int(now.GroupFwdMask)) + ", not " + strconv.Itoa(k.GroupFwdMask))
		}
	}
	_, joined, err := t.findUplink(c.host)
	if err == nil && !joined {
		return fault.Wrong("uplinkInterface " + strconv.Quote(t.conf.Bridge.Uplink) + " is not a port of the bridge")
	}
	return err
}

func (t bridge) lookAtPort(c *checking) error {
	if c.hostEnd.Master != c.bridge.Index {
		return fault.Wrong("veth " + strconv.Quote(c.hostEnd.Name) + " is not a port of bridge " + strconv.Quote(t.conf.Bridge.Name))
	}
	return nil
}

// lookAtGateways finds the gateway addresses on the bridge, or on the VLAN's gateway.
func (t bridge) lookAtGateways(c *checking) error {
	k := &t.conf.Bridge
	if !k.Gateway() {
		return nil
	}
	link, name := c.bridge.Index, k.Name
	if k.VLAN != 0 {
		name = t.vlanGateway()
		index, err := c.host.Index(name)
		if err != nil {
			return fault.Wrap("failed to lookup "+strconv.Quote(name), err)
		}
		link = index
	}
	for _, want := range t.gatewaysOf(c.prev.IPs) {
		on, err := c.host.HasAddr(link, want)
		if err != nil {
			return fault.Wrap("list the bridge's addresses", err)
		}
		if !on {
			return fault.Wrong("gateway " + want.String() + " is not on " + strconv.Quote(name))
		}
	}
	return nil
}

// bridgeStatus looks at a bridge that's there: what it lacks, its containers lack as well.
func bridgeStatus(n *netconf.Network) error {
	k := &n.Bridge
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return fault.Unavailable("rtnetlink can't be used", err)
	}
	defer conn.Close()
	if _, _, err := (bridge{n}).findUplink(conn); err != nil {
		return fault.Unavailable("no container can be attached", err)
	}
	l, err := conn.Link(k.Name)
	switch {
	case fault.Absent(err):
		return nil
	case err != nil:
		return fault.Unavailable("the bridge can't be looked at", err)
	case l.Kind != "bridge":
		return fault.Unavailable(strconv.Quote(k.Name)+" already exists but is not a bridge", nil)
	case l.State != rtnl.Up:
		return &spec.Error{Code: spec.CodeLimited, Msg: "bridge " + strconv.Quote(k.Name) + " is down", Key: "bridge"}
	}
	if on, err := sysctl.Read("net/ipv4/ip_forward"); k.Gateway() && n.HasAddresses() && err == nil && on != "1" {
		return &spec.Error{Code: spec.CodeLimited, Msg: "net.ipv4.ip_forward is off: containers reach nothing beyond the bridge", Key: "isGateway"}
	}
	return nil
}
