// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"
	"net"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/undo"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Add attaches a container. Names that are taken by a stranger's link are followed by others.
func (k *Keys) Add(ctx context.Context, _ *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	mac, err := k.checkAdd(a)
	if err != nil {
		return nil, err
	}
	call := process.Of(ctx)
	call.Enter(calls.Namespace)
	giver, err := addresses.Another(ctx, k.conf)
	if err != nil {
		return nil, err
	}
	host, err := hostid.Read(call)
	if err != nil {
		return nil, err
	}
	container, err := netns.Open(a, host.NetNS)
	if err != nil {
		return nil, err
	}
	defer container.Close()
	for attempt := 0; ; attempt++ {
		at := &attaching{call: call, keys: k, attachment: a, host: host, container: container, mac: mac, giver: giver,
			side: k.side(), names: k.namesOf(a, attempt)}
		res, err := at.run(ctx)
		if !errors.Is(err, errNameTaken) || attempt+1 == names.Attempts {
			return res, err
		}
	}
}

// attaching is one attempt at an attachment: what it's for, what it holds open, and how to take it
// back.
type attaching struct {
	call       *process.Call
	keys       *Keys
	side       *topology // the keys'
	attachment spec.Attachment
	host       hostid.ID
	container  *rtnl.NetNS
	mac        net.HardwareAddr // explicit, or nil
	mtu        int              // of the links; 0 is the kernel's default
	names      names.Names
	giver      verbs.Plugin // of addresses, that is another program; or nil

	conn     *rtnl.Conn      // in the host's namespace
	inside   endpoint.Inside // open once the container's side is set up
	store    *ipam.Store     // locked from the reservation until the link exists; nil outside
	plan     *plan
	place    int                 // in the list of AddAll
	reserved map[ipam.Owner]bool // by the others of that list, whose links come later
	undo     undo.List
	otherMAC bool // somebody may have had the address of whom we don't know: by another MAC, and with ports that lead to it

	endedLately bool // other attachments of the network have

	newBridge  bool             // this call made it
	idleBridge int              // its index, if it had no port that is up; else 0
	bridgeMAC  net.HardwareAddr // before the port joined
}

func (at *attaching) run(ctx context.Context) (_ *spec.Result, err error) {
	if at.conn, err = at.call.Route(); err != nil {
		return nil, fault.Wrap("open a netlink socket", err)
	}
	defer func() {
		if err != nil {
			at.enter(calls.Undo)
			at.undo.Run()
		}
		if err = errors.Join(err, at.unlock()); err != nil {
			err = fault.Of(err)
		}
		at.call.CloseRoute(at.conn)
		at.inside.Leave()
	}()
	at.mtu = at.keys.mtu(at.conn)
	if at.giver != nil || at.sharesNetNS() {
		return at.ask(ctx)
	}
	return at.build(ctx)
}

// enter begins a step of a call that's recorded.
func (at *attaching) enter(s calls.Step) { at.call.Enter(s) }

// build makes an attachment whose addresses are known before anything is touched.
func (at *attaching) build(ctx context.Context) (*spec.Result, error) {
	at.enter(calls.Lease)
	addrs, err := at.reserve(ctx)
	if err != nil {
		return nil, err
	}
	at.enter(calls.Links)
	at.decide(addrs, endpoint.Whole)
	if err := at.side.refuse(at.plan); err != nil {
		return nil, err
	}
	if err := at.side.hostSide(at); err != nil {
		return nil, err
	}
	// The lease's record names a link that now exists: from here on nobody can take it for a dead
	// one's.
	if err := at.unlock(); err != nil {
		return nil, err
	}
	if err := at.rules(); err != nil {
		return nil, err
	}
	if err := at.containerSide(); err != nil {
		return nil, err
	}
	if err := inOrder(at.portUp, at.awaitIPv6, at.announce); err != nil {
		return nil, err
	}
	return at.result()
}

// decide makes the plan. The part that follows an IPAM plugin's answer keeps the MAC that the link
// has.
func (at *attaching) decide(addrs *spec.Result, of endpoint.Phase) {
	p := premise{keys: at.keys, side: at.side, attach: at.attachment, names: at.names, mac: at.mac, mtu: at.mtu, seed: at.seed(), announce: at.otherMAC, phase: of}
	if at.plan != nil {
		p.mac = at.plan.mac
	}
	at.plan = newPlan(p, addrs)
}

// seed is what a container without addresses derives its MAC from.
func (at *attaching) seed() string {
	a := &at.attachment
	return at.host.Boot + "\x00" + at.keys.conf.Name + "\x00" + a.ContainerID + "\x00" + a.IfName
}

// An IPAM plugin that is a program of its own may have to find the addresses in the network, as
// dhcp does: by packets of the container, to a server behind the bridge. So it's asked when the
// link is there and its port forwards, with the MAC that the container keeps. A link that can't be
// made shows before anybody is asked, and an answer that turns out to be of no use is given back
// from a link that's still there.

// ask makes an attachment whose addresses are known once its link is there.
func (at *attaching) ask(ctx context.Context) (*spec.Result, error) {
	at.enter(calls.Links)
	at.decide(&spec.Result{}, endpoint.Asking)
	hostSide := func() error { return at.side.hostSide(at) }
	if err := inOrder(hostSide, at.rules, at.containerSide, at.portUp); err != nil {
		return nil, err
	}
	at.enter(calls.Lease)
	addrs, err := at.reserve(ctx)
	if err != nil {
		return nil, err
	}
	at.decide(addrs, endpoint.Answered)
	if err := at.side.refuse(at.plan); err != nil {
		return nil, err
	}
	steps := append([]func() error{at.unlock}, at.side.answered(at)...)
	if err := inOrder(append(steps, at.awaitIPv6, at.announce)...); err != nil {
		return nil, err
	}
	return at.result()
}

// sharesNetNS reports whether the container's namespace is the host's. There the kernel takes no
// IPv6 route by a gateway that is the host's own address already, so the gateways come last
// (ip6_validate_gw, net/ipv6/route.c).
func (at *attaching) sharesNetNS() bool {
	return at.attachment.SharedNetNS && at.container.ID() == at.host.NetNS // else netns.Open has refused it
}

// result says what the attachment got.
func (at *attaching) result() (*spec.Result, error) {
	list, err := at.side.interfaces(at)
	if err != nil {
		return nil, err
	}
	p := at.plan
	return &spec.Result{CNIVersion: at.keys.conf.CNIVersion, Interfaces: list, IPs: p.IPs, Routes: p.Routes, DNS: p.dns}, nil
}
