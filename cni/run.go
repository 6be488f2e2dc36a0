// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// errNameTaken says that a derived name or index belongs to a stranger, and the next ones should be tried.
var errNameTaken = errors.New("derived name is taken by another link")

// Bounds of what an attach waits for.
const (
	dadTimeout  = 5 * time.Second // duplicate address detection
	portTimeout = 3 * time.Second // a port's becoming operational
)

// hostSide makes the link and joins the bridge: one send when the bridge is as it should be.
func (at *attaching) hostSide() error {
	p := at.plan
	if err := at.forwarding(); err != nil {
		return err
	}
	bridge, err := at.ensureBridge()
	if err != nil {
		return err
	}
	var b rtnl.Batch
	p.hostBatch(&b, bridge, at.container)
	at.undo.Push("link", func() error { return at.removeLink() })
	added, err := at.sortRefusals(at.conn.Do(&b), p.bridgeGateways())
	return at.settle(bridge, added, err)
}

// gatewaySide is the part of hostSide that has to wait for an IPAM plugin's answer.
func (at *attaching) gatewaySide() error {
	p := at.plan
	if len(p.gateways) == 0 {
		return nil
	}
	at.enter(calls.Links)
	if err := at.forwarding(); err != nil {
		return err
	}
	bridge, err := at.conn.Index(at.network.bridge.name)
	if err != nil {
		return failed("failed to lookup "+quote(at.network.bridge.name), err)
	}
	var b rtnl.Batch
	p.gatewayBatch(&b, bridge)
	added, err := at.sortRefusals(at.conn.Do(&b), p.bridgeGateways())
	return at.settle(bridge, added, err)
}

// settle does what is to be done once the bridge has its gateways. err is of those that it was to get, added those that
// it didn't have: the first attachment's, or such as conflict with an address that it has.
func (at *attaching) settle(bridge int, added []netip.Prefix, err error) error {
	keys := &at.network.bridge
	if len(added) > 0 {
		err = errors.Join(err, at.settleGateways(bridge, keys.name, added))
	}
	if err != nil {
		return err
	}
	if err := at.pinBridge(bridge, len(added) > 0); err != nil {
		return err
	}
	if keys.vlan == 0 {
		at.tellHost(bridge)
	} else if len(at.plan.gateways) > 0 {
		return at.ensureVLANGateway(bridge)
	}
	return nil
}

// sortRefusals tells the refusals of the host's batch that are expected from those that end the attempt. The
// first steps add gateways, which usually are there; those that weren't are returned.
func (at *attaching) sortRefusals(err error, gateways []netip.Prefix) (added []netip.Prefix, _ error) {
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return nil, failed("attach to the bridge", err)
	}
	present := make([]bool, len(gateways))
	var first error
	for _, e := range refused {
		switch {
		case e.Step < len(gateways):
			present[e.Step] = true
			if !errors.Is(e, fs.ErrExist) && first == nil {
				first = at.gatewayRefused(e)
			}
		case first != nil: // what follows a refusal is refused in its wake
		case e.Step == len(gateways):
			first = at.linkRefused(e)
		case e.Step == len(gateways)+1:
			// What the host end is called outside, and that it needs no IPv6 address: a kernel without IPv6
			// refuses that, and the attachment works all the same.
		default:
			first = failed("set up the bridge port", e)
		}
	}
	for i, gw := range gateways {
		if !present[i] {
			added = append(added, gw)
		}
	}
	return added, first
}

// linkRefused explains why the pair of links couldn't be made.
func (at *attaching) linkRefused(e *rtnl.Error) error {
	nm, keys, ifName := at.names, &at.network.bridge, at.attachment.IfName
	at.undo.Pop() // what isn't ours must not be undone
	switch {
	case e.Errno == unix.EBUSY:
		return errors.Join(errNameTaken, e)
	case errors.Is(e, fs.ErrExist):
		// The kernel says the same of a name that's taken here or there, and of an index that's taken here.
		mac, err := at.conn.MAC(nm.Link)
		if _, taken := at.conn.Name(nm.Index); absent(err) && taken == nil {
			return errors.Join(errNameTaken, e)
		}
		if absent(err) || at.container.ID() == at.host.NetNS && mac.String() != nm.MAC.String() {
			return &Error{Code: CodeAttached, Err: e, Key: "CNI_IFNAME",
				Msg: "container veth name (" + quote(ifName) + ") peer provided (" + quote(nm.Link) + ") already exists"}
		}
		if index, _ := at.conn.Index(nm.Link); err == nil && (index != nm.Index || mac.String() != nm.MAC.String()) {
			return errors.Join(errNameTaken, e)
		}
		return &Error{Code: CodeAttached, Err: e, Key: "CNI_CONTAINERID",
			Msg: "container " + at.attachment.ContainerID + " is attached to network " + quote(at.network.name) + " as " + ifName +
				": its link " + nm.Link + " is still there; DEL removes it"}
	case e.Errno == unix.EXFULL:
		return &Error{Code: CodeTryAgain, Err: e, Key: "bridge",
			Msg: "bridge " + quote(keys.name) + " is full: a Linux bridge takes 1023 ports (" + e.Error() + ")"}
	case e.Errno == unix.EOPNOTSUPP:
		if l, err := at.conn.Link(keys.name); err == nil && l.Kind != "bridge" {
			return notABridge(keys.name)
		}
	}
	return failed("failed to make veth pair", e)
}

func notABridge(name string) error {
	return invalidKey("bridge", "failed to create bridge "+quote(name)+": "+quote(name)+" already exists but is not a bridge")
}

func (at *attaching) gatewayRefused(e *rtnl.Error) error {
	keys := &at.network.bridge
	if errors.Is(e, fs.ErrPermission) {
		if v, err := sysctl.Read(sysctl.IPv6(keys.name, "disable_ipv6")); err == nil && v == "1" {
			return &Error{Code: CodeInternal, Err: e, Msg: "failed to set bridge addr: IPv6 is disabled on " + quote(keys.name)}
		}
	}
	if errors.Is(e, unix.EINVAL) {
		if l, err := at.conn.Link(keys.name); err == nil && l.MTU < minIPv6MTU && slices.ContainsFunc(at.plan.gateways, is6) {
			return &Error{Code: CodeInternal, Err: e, Msg: "failed to set bridge addr: invalid argument",
				Details: quote(keys.name) + " has an MTU of " + strconv.Itoa(l.MTU) + ", and IPv6 needs " + strconv.Itoa(minIPv6MTU)}
		}
	}
	return failed("failed to set bridge addr", e)
}

func is6(p netip.Prefix) bool { return p.Addr().Is6() }

// removeLink deletes the host end, and with it the container's.
func (at *attaching) removeLink() error {
	var b rtnl.Batch
	b.Delete(rtnl.Link{Index: at.names.Index})
	return at.conn.Do(&b)
}

// rules puts the attachment's elements into the ruleset: one send when its rules are there.
func (at *attaching) rules() error {
	at.enter(calls.Rules)
	if err := at.endStrangers(); err != nil {
		return err
	}
	elements, ok := at.plan.rules()
	if !ok {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return failed("set up nftables", err)
	}
	defer at.call.Close(conn, at.endedLately)
	if at.newBridge {
		// Nobody was attached before, so the rules aren't there either: a transaction that the kernel refuses
		// first would cost an RCU grace period, about 10 ms.
		if err := conn.Build(nft.Ruleset{Subnets: elements.Masquerade, Guard: elements.Guard != nil}); err != nil {
			return failed("set up nftables", err)
		}
	}
	at.undo.Push("ruleset elements", func() error { return detachElements(elements) })
	return failed("set up nftables", conn.Attach(elements))
}

func detachElements(a nft.Sender) error {
	conn, err := nft.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Detach(a)
}

// containerSide brings the container's link up with its addresses and routes: one send.
func (at *attaching) containerSide() error {
	at.enter(calls.Container)
	p := at.plan
	if err := at.enterContainer(); err != nil {
		return err
	}
	var b rtnl.Batch
	p.containerBatch(&b)
	if b.Len() > 0 {
		if err := at.inside.Do(&b); err != nil {
			// The kernel knows the link by number, the reader by name.
			text := strings.ReplaceAll(err.Error(), strconv.Itoa(p.names.Peer), p.attach.IfName)
			return &Error{Code: CodeInternal, Msg: "failed to set up the container's link: " + text, Err: err}
		}
	}
	return nil
}

// portUp waits until the bridge port can forward, so that the container's first packet isn't lost. A bridge gets its carrier
// and its queue by its first port, a little later too: until then it drops what the host sends.
func (at *attaching) portUp() error {
	if at.network.bridge.containerDown {
		return nil
	}
	if err := at.conn.WaitUp(at.names.Index, portTimeout); err != nil {
		return failed("bridge port in error state", err)
	}
	if at.idleBridge != 0 {
		_ = at.conn.WaitUp(at.idleBridge, inUseTimeout) // with spanning tree it takes half a minute
	}
	return nil
}

// enterContainer sets the container's sysctls, which have no netlink form, and opens a socket there, for as long as the
// attempt goes on.
func (at *attaching) enterContainer() error {
	sysctls := at.plan.sysctls()
	if at.inside != nil {
		if len(sysctls) == 0 {
			return nil
		}
		at.leaveContainer()
	}
	settings := make([]rtnl.Sysctl, len(sysctls))
	for i, s := range sysctls {
		settings[i] = rtnl.Sysctl{Path: "/proc/sys/" + s.name, Value: s.value, Later: s.late}
	}
	conn, err := rtnl.DialWith(at.call.OrBackground(), at.container, settings)
	if err != nil {
		return failed("open a netlink socket in the container", err)
	}
	at.inside, at.late = conn, settings
	for i, s := range settings {
		if s.Err != nil && sysctls[i].must {
			return failed("failed to set up the container's link", s.Err)
		}
	}
	return nil
}

// leaveContainer closes what enterContainer has opened.
func (at *attaching) leaveContainer() {
	for i := range at.late {
		at.late[i].Drop()
	}
	if at.inside != nil {
		at.inside.Close()
	}
	at.inside, at.late = nil, nil
}

// forwarding turns on what a gateway needs.
func (at *attaching) forwarding() error {
	var done [2]bool
	for _, gw := range at.plan.gateways {
		family := 0
		if gw.Addr().Is4() {
			family = 1
		}
		if done[family] {
			continue
		}
		done[family] = true
		if err := sysctl.Forward(at.conn, family == 1); err != nil {
			return err
		}
	}
	return nil
}
