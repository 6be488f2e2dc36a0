// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"net"

	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/undo"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

func attachToBridge(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	mac, err := n.checkAttach(a)
	if err != nil {
		return nil, err
	}
	return n.attach(ctx, a, mac, (*attaching).toBridge)
}

// attach makes an attachment of any kind: build gets its addresses, and makes its links, rules and routes.
func (n *Network) attach(ctx context.Context, a Attachment, mac net.HardwareAddr, build builder) (*Result, error) {
	process.Of(ctx).Enter(calls.Namespace)
	var ipam *delegate
	if n.delegates() {
		var err error
		if ipam, err = n.findDelegate(ctx); err != nil {
			return nil, err
		}
	}
	host, err := hostid.Read()
	if err != nil {
		return nil, err
	}
	container, err := netns.Open(a, host.NetNS)
	if err != nil {
		return nil, err
	}
	defer container.Close()
	for attempt := 0; ; attempt++ {
		at := &attaching{call: process.Of(ctx), network: n, attachment: a, host: host, container: container, mac: mac, delegate: ipam,
			names: names.Of(n.name, a.ContainerID, a.IfName, attempt)}
		res, err := at.run(ctx, build)
		if !errors.Is(err, errNameTaken) || attempt+1 == names.Attempts {
			return res, err
		}
	}
}

// A builder makes an attachment of one kind.
type builder func(*attaching, context.Context) (*Result, error)

// checkAttach finds whatever is wrong with the input, before anything is touched.
func (n *Network) checkAttach(a Attachment) (net.HardwareAddr, error) {
	if err := n.checkCall(a); err != nil {
		return nil, err
	}
	if err := n.checkBridged(); err != nil {
		return nil, err
	}
	if a.IfName == n.bridge.name && a.SharedNetNS {
		return nil, &Error{Code: CodeInvalidEnvironment, Msg: "CNI_IFNAME is the bridge's own name " + quote(a.IfName), Key: "CNI_IFNAME"}
	}
	return n.mac(a)
}

// checkBridged finds what is wrong with the configuration, for an attachment to a bridge.
func (n *Network) checkBridged() error {
	if err := n.checkBridge(); err != nil {
		return err
	}
	if n.version().Form() == specversion.Legacy && !n.hasAddresses() {
		_, err := (&Result{CNIVersion: n.cniVersion}).MarshalJSON() // which has no form
		return err
	}
	return nil
}

// checkCall finds what no plugin can work with.
func (n *Network) checkCall(a Attachment) error {
	if err := checkAttachment(a); err != nil {
		return err
	}
	if a.NetNS == "" {
		return &Error{Code: CodeInvalidEnvironment, Msg: "required env variables [CNI_NETNS] missing", Key: "CNI_NETNS"}
	}
	return n.allow("ADD")
}

// attaching is one attempt at an attachment: what it's for, what it holds open, and how to take it back.
type attaching struct {
	call       *process.Call
	network    *Network
	attachment Attachment
	host       hostid.ID
	container  *rtnl.NetNS
	mac        net.HardwareAddr // explicit, or nil
	names      names.Names
	delegate   *delegate // the IPAM plugin that is a program of its own, or nil

	conn     *rtnl.Conn    // in the host's namespace
	inside   *rtnl.Conn    // in the container's, once its side is set up
	late     []rtnl.Sysctl // of the container, that are made at the end
	store    *ipam.Store   // locked from the reservation until the link exists; nil outside
	plan     *plan
	place    int                 // in the list of AttachAll
	reserved map[ipam.Owner]bool // by the others of that list, whose links come later
	undo     undo.List
	otherMAC bool // somebody may have had the address of whom we don't know: by another MAC, and with ports that lead to it

	endedLately bool // other attachments of the network have

	newBridge  bool             // this call made it
	idleBridge int              // its index, if it had no port that is up; else 0
	bridgeMAC  net.HardwareAddr // before the port joined
}

func (at *attaching) run(ctx context.Context, build builder) (_ *Result, err error) {
	if at.conn, err = rtnl.Dial(nil); err != nil {
		return nil, failed("open a netlink socket", err)
	}
	defer func() {
		if err != nil {
			at.enter(calls.Undo)
			at.undo.Run()
		}
		if err = errors.Join(err, at.unlock()); err != nil {
			err = asError(err)
		}
		at.conn.Close()
		at.leaveContainer()
	}()
	return build(at, ctx)
}

// decide reserves addresses and makes the plan.
func (at *attaching) decide(ctx context.Context) error {
	at.enter(calls.Lease)
	addrs, err := at.reserve(ctx)
	if err != nil {
		return err
	}
	at.enter(calls.Links)
	at.plan = newPlan(at.network, at.attachment, at.names, addrs, at.mac, at.seed())
	at.plan.announce = at.plan.announce || at.otherMAC
	return nil
}

// enter begins a step of a call that's recorded.
func (at *attaching) enter(s calls.Step) { at.call.Enter(s) }

// toBridge makes an attachment to a bridge.
func (at *attaching) toBridge(ctx context.Context) (*Result, error) {
	if at.delegate != nil || at.sharesNetNS() {
		return at.toBridgeAsking(ctx)
	}
	if err := at.decide(ctx); err != nil {
		return nil, err
	}
	if err := at.plan.checkGateways(); err != nil {
		return nil, err
	}
	if err := at.hostSide(); err != nil {
		return nil, err
	}
	// The lease's record names a link that now exists: from here on nobody can take it for a dead one's.
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

// sharesNetNS reports whether the container's namespace is the host's. There the kernel takes no IPv6 route by a gateway
// that is the host's own address already, so the gateways come last (ip6_validate_gw, net/ipv6/route.c).
func (at *attaching) sharesNetNS() bool {
	return at.attachment.SharedNetNS && at.container.ID() == at.host.NetNS // else openNetNS has refused it
}

// seed is what a container without addresses derives its MAC from.
func (at *attaching) seed() string {
	a := &at.attachment
	return at.host.Boot + "\x00" + at.network.name + "\x00" + a.ContainerID + "\x00" + a.IfName
}

// reserve asks IPAM for addresses. A network without IPAM has none.
func (at *attaching) reserve(ctx context.Context) (*Result, error) {
	n := at.network
	switch n.ipam.plugin {
	case "":
		return &Result{}, nil
	case hostLocal:
		return at.reserveLocal(ctx)
	}
	at.otherMAC = true // nobody knows who had the addresses
	if n.ipam.plugin == static {
		return n.reserveStatic(at.attachment)
	}
	return at.reserveDelegated(ctx)
}

func (at *attaching) reserveLocal(ctx context.Context) (*Result, error) {
	n := at.network
	dns, err := n.ipam.readResolvConf()
	if err != nil {
		return nil, err
	}
	if at.store == nil {
		if at.store, err = ipam.Open(ctx, n.ipam.dataDir, n.name); err != nil {
			return nil, failed("open the lease store", err)
		}
	}
	store := at.store
	unclean, err := at.restoreLost(store)
	if err != nil {
		return nil, err
	}
	owner := names.Lessee(at.attachment)
	leases, err := store.Reserve(ipam.Request{
		Owner: owner,
		Sets:  n.ipam.sets,
		Want:  n.wanted(at.attachment),
		// A MAC follows from one address alone, the first of IPv4 if there is one.
		OtherMAC:  unclean || at.mac != nil || n.ipam.setsOf4() > 1,
		OtherMAC6: len(n.ipam.sets) > max(1, n.ipam.setsOf4()),
		Record:    proof.Record(at.names, owner, at.host),
		Alive:     at.alive(),
		TrueBoot:  at.host.BootIsReal,
		Ending:    rules.Ending(n.name),
	})
	if err != nil {
		return nil, ipamError(err)
	}
	history := store.History()
	at.otherMAC, at.endedLately = history.OtherMACs6, history.EndedLately
	at.undo.Push("leases", func() error { return at.release(owner) })
	return n.localResult(leases, dns), nil
}

// alive says of whom an address may not be taken: of those with a link, and of those that get theirs in this call.
func (at *attaching) alive() func(ipam.Record) bool {
	linked := proof.On(at.host, at.conn).AliveOn(at.network.name)
	return func(r ipam.Record) bool { return at.reserved[r.Owner] || linked(r) }
}

// release gives the leases of this call back, while the store is still locked or after.
func (at *attaching) release(owner ipam.Owner) error {
	if at.store != nil {
		return at.store.Release(owner)
	}
	store, err := ipam.Open(context.Background(), at.network.ipam.dataDir, at.network.name)
	if err != nil {
		return err
	}
	return errors.Join(store.Release(owner), store.Close())
}

func (at *attaching) unlock() error {
	if at.store == nil {
		return nil
	}
	err := at.store.Close()
	at.store = nil
	return failed("close the lease store", err)
}

// result says what the attachment got. Everything was chosen, but for the bridge's MAC.
func (at *attaching) result() (*Result, error) {
	p, keys := at.plan, &at.network.bridge
	mac, err := at.conn.MAC(keys.name)
	if err != nil {
		return nil, failed("failed to lookup "+quote(keys.name), err)
	}
	res := &Result{
		CNIVersion: at.network.cniVersion,
		Interfaces: []Interface{
			{Name: keys.name, MAC: mac.String()},
			{Name: p.names.Link, MAC: p.names.MAC.String()},
			{Name: at.attachment.IfName, MAC: p.mac.String(), Sandbox: at.attachment.NetNS},
		},
		IPs: p.ips, Routes: p.routes, DNS: p.dns,
	}
	if keys.vlan != 0 && len(p.gateways) > 0 {
		name := vlanGatewayName(keys.name, keys.vlan)
		mac, err := at.conn.MAC(name)
		if err != nil {
			return nil, failed("failed to lookup "+quote(name), err)
		}
		res.Interfaces = append(res.Interfaces, Interface{Name: name, MAC: mac.String()})
	}
	return res, nil
}
