// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"

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
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// Add attaches a container.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if err := k.checkAdd(c, a); err != nil {
		return nil, err
	}
	at := &attaching{call: process.Of(ctx), keys: k, attachment: a, prev: c.Prev}
	var err error
	if at.mac, err = k.chooseMAC(a); err != nil {
		return nil, err
	}
	at.call.Enter(calls.Namespace)
	if at.giver, err = addresses.Another(ctx, k.conf); err != nil {
		return nil, err
	}
	if at.host, err = hostid.Read(at.call); err != nil {
		return nil, err
	}
	if at.container, err = netns.Open(a, at.host.NetNS); err != nil {
		return nil, err
	}
	defer at.container.Close()
	return at.run(ctx)
}

// attaching is an attachment in the making.
type attaching struct {
	call       *process.Call
	keys       *Keys
	attachment spec.Attachment
	prev       *spec.Result
	host       hostid.ID
	container  *rtnl.NetNS
	giver      verbs.Plugin // of addresses, that is another program; or nil

	conn    *rtnl.Conn // in the host's namespace
	below   *rtnl.Conn // in the master's
	inside  endpoint.Inside
	master  rtnl.LinkState
	mac     net.HardwareAddr // explicit until decide
	derived bool             // the MAC follows from an address
	link    endpoint.Link
	dns     spec.DNS
	undo    undo.List
}

func (at *attaching) run(ctx context.Context) (_ *spec.Result, err error) {
	if at.conn, err = at.call.Route(); err != nil {
		return nil, fault.Wrap("open a netlink socket", err)
	}
	at.below = at.conn
	defer func() {
		if err != nil {
			at.call.Enter(calls.Undo)
			at.undo.Run()
			err = fault.Of(err)
		}
		at.inside.Leave()
		if at.below != at.conn {
			at.below.Close()
		}
		at.call.CloseRoute(at.conn)
	}()
	if err := at.findMaster(); err != nil {
		return nil, err
	}
	if at.giver != nil {
		return at.ask(ctx)
	}
	at.call.Enter(calls.Lease)
	given, err := at.addresses(ctx)
	if err != nil {
		return nil, err
	}
	at.call.Enter(calls.Links)
	err = at.build(ctx, given, endpoint.Whole)
	if errors.Is(err, unix.EADDRINUSE) && at.derived {
		// Another macvlan of the master has the same MAC, as where two have the same address.
		_ = at.remove()
		at.mac = at.ownMAC(nil)
		err = at.build(ctx, given, endpoint.Whole)
	}
	if err != nil {
		return nil, err
	}
	return at.result(), nil
}

// build makes the link with what is given.
func (at *attaching) build(ctx context.Context, given *spec.Result, of endpoint.Phase) error {
	if err := at.decide(given, of); err != nil {
		return err
	}
	if err := at.create(); err != nil {
		return err
	}
	return at.configure(ctx)
}

// ask makes an attachment whose addresses another program gives. That may have to find them in the
// network, as dhcp does, so it's asked when the link is up, with the MAC that it keeps.
func (at *attaching) ask(ctx context.Context) (*spec.Result, error) {
	at.call.Enter(calls.Links)
	if err := at.build(ctx, &spec.Result{}, endpoint.Asking); err != nil {
		return nil, err
	}
	at.call.Enter(calls.Lease)
	at.undo.Push("addresses", func() error { return addresses.GiveBack(ctx, at.giver, at.attachment) })
	given, err := at.giver.Add(ctx, nil, at.attachment)
	if err != nil {
		return nil, err
	}
	if err := at.decide(given, endpoint.Answered); err != nil {
		return nil, err
	}
	if err := at.configure(ctx); err != nil {
		return nil, err
	}
	return at.result(), nil
}

// findMaster finds the link below, and judges the MTU by it.
func (at *attaching) findMaster() (err error) {
	k := at.keys
	if k.kind.alone() {
		return nil
	}
	if k.within {
		if at.below, err = rtnl.Dial(at.container); err != nil {
			at.below = at.conn
			return fault.Wrap("open a netlink socket in the container", err)
		}
	}
	if at.master, err = k.findMaster(at.below, at.prev); err != nil {
		return err
	}
	return k.checkMTU(at.master)
}

// addresses are those of an IPAM plugin of ours, or of the plugin before. There may be none.
func (at *attaching) addresses(ctx context.Context) (*spec.Result, error) {
	conf := at.keys.conf
	from := addresses.Of(conf)
	if from == nil {
		if at.keys.kind != ipvlan {
			return &spec.Result{}, nil
		}
		if len(at.prev.IPs) == 0 {
			return nil, fault.Expected("ipam.type", "no plugin name provided", "an IPAM plugin, or addresses in prevResult")
		}
		return at.prev, nil
	}
	given, err := addresses.Give(ctx, conf, at.attachment, at.host, at.conn)
	if err == nil {
		at.undo.Push("addresses", func() error { return addresses.GiveBack(ctx, from, at.attachment) })
	}
	return given, err
}

// decide says what the link gets. What is given beside another program's answer keeps the MAC that
// the link has.
func (at *attaching) decide(given *spec.Result, of endpoint.Phase) error {
	k, index := at.keys, at.link.Index
	neighbours := k.kind == macvlan || k.kind == ipvlan
	at.link = endpoint.Link{Name: at.attachment.IfName, Index: index, Phase: of, Notify: neighbours, AtOnce: neighbours, DAD: endpoint.AsItIs}
	if k.kind == tap { // nobody is at its other end yet, so no detection would come to an end
		at.link.Notify, at.link.DAD, at.link.NoCarrier = true, endpoint.WithoutDAD, true
	}
	at.link.Take(k.conf, given, 0)
	at.dns = endpoint.DNS(k.conf, given)
	switch {
	case of == endpoint.Answered:
	case k.inherits():
		at.mac = at.master.MAC
	case at.mac == nil:
		at.mac, at.derived = at.ownMAC(at.link.Addresses()), true
	}
	return at.link.CheckMTU(k.mtu)
}

// ownMAC follows from the addresses, or without any from the owner.
func (at *attaching) ownMAC(addrs []netip.Prefix) net.HardwareAddr {
	a := &at.attachment
	return names.ContainerMAC(addrs, at.host.Boot+"\x00"+at.keys.conf.Name+"\x00"+a.ContainerID+"\x00"+a.IfName)
}

// create makes the link.
func (at *attaching) create() error {
	if err := at.conn.Number(at.container); err != nil { // so that GC finds it
		return fault.Wrap("number the container's namespace", err)
	}
	if at.keys.kind == tap {
		return at.createTap()
	}
	return at.place()
}

// place makes the link by an index that nobody has.
func (at *attaching) place() error {
	at.undo.Push("link", at.remove)
	for attempt := range names.Attempts {
		nm := at.keys.namesOf(at.attachment, attempt)
		at.link.Index = nm.Peer
		err := at.make(at.link.Name)
		if err == nil {
			return nil
		}
		var refused *rtnl.Error
		if !errors.As(err, &refused) {
			if at.keys.kind == tap { // nothing was made
				at.undo.Pop()
				err = at.noTap(err)
			}
			return err
		}
		taken, err := at.whoseIs(refused, nm)
		if err == nil && taken {
			continue
		}
		if err == nil {
			return nil
		}
		at.undo.Pop() // what isn't ours must not be undone
		return err
	}
	at.undo.Pop()
	return at.refused(errors.New("its indexes are taken"))
}

// make sends for the link.
func (at *attaching) make(name string) error {
	if at.keys.kind == tap {
		return at.makeTap(name)
	}
	var b rtnl.Batch
	at.describe(&b, name)
	return at.below.Do(&b)
}

// describe says what the link is to be.
func (at *attaching) describe(b *rtnl.Batch, name string) {
	k := at.keys
	link := rtnl.Link{Index: at.link.Index, Name: name, MTU: k.mtu, NetNS: at.container}
	if k.within {
		link.NetNS = nil
	}
	if !k.inherits() {
		link.MAC = at.mac
	}
	parent := at.master.Index
	switch k.kind {
	case macvlan:
		b.Create(rtnl.Macvlan{Link: link, Parent: parent, Mode: rtnl.MacvlanMode(k.mode), BCQueueLen: uint32(k.queue)})
	case ipvlan:
		b.Create(rtnl.IPVLAN{Link: link, Parent: parent, Mode: rtnl.IPVLANMode(k.mode)})
	case vlan:
		b.Create(rtnl.VLAN{Link: link, Parent: parent, ID: k.vlan})
	case dummy:
		link.Kind = "dummy"
		b.Create(link)
	}
}

// refused is the error for a link that can't be made.
func (at *attaching) refused(err error) error {
	text := fault.Wrap("failed to create "+at.keys.kind.String(), err)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fault.Because(fault.Of(text), "the kernel lacks CONFIG_"+[...]string{"MACVLAN", "IPVLAN", "VLAN_8021Q", "DUMMY", "TUN"}[at.keys.kind])
	}
	return text
}

// whoseIs finds out why the link was refused. taken says that the next index is to be tried. Before
// Linux 6.14 a name or index is refused that a link of the sender's namespace has, though the new
// link's is another (rtnl_newlink, net/core/rtnetlink.c). Then the link is made by the name of a host
// end, which nobody has, and renamed inside. Without an error and not taken it's there.
func (at *attaching) whoseIs(refused *rtnl.Error, nm names.Names) (taken bool, _ error) {
	if !errors.Is(refused, unix.EEXIST) && !errors.Is(refused, unix.EBUSY) {
		return false, at.refused(refused)
	}
	inside, err := rtnl.Dial(at.container)
	if err != nil {
		return false, fault.Wrap("open a netlink socket in the container", err)
	}
	defer inside.Close()
	name := at.link.Name
	if _, err := inside.Index(name); err == nil {
		return false, at.taken(refused)
	}
	for _, conn := range [...]*rtnl.Conn{inside, at.below} {
		if _, err := conn.Name(nm.Peer); err == nil {
			return true, nil
		}
	}
	if _, err := at.below.Index(name); err != nil {
		return false, at.refused(refused)
	}
	if err := at.make(nm.Link); err != nil {
		return false, at.refused(err)
	}
	var b rtnl.Batch
	b.Set(rtnl.Link{Index: nm.Peer, Name: name})
	if err := inside.Do(&b); err != nil {
		_ = at.remove()
		return false, at.taken(err)
	}
	return false, nil
}

// taken is the error for a name that another link of the container has.
func (at *attaching) taken(err error) error {
	return &spec.Error{Code: spec.CodeAttached, Key: "CNI_IFNAME", Err: err,
		Msg: "failed to rename " + at.keys.kind.String() + " to " + strconv.Quote(at.link.Name) + ": " + unix.EEXIST.Error()}
}

// remove deletes the link.
func (at *attaching) remove() error {
	conn, err := rtnl.Dial(at.container)
	if err != nil {
		return err
	}
	defer conn.Close()
	var b rtnl.Batch
	b.Delete(rtnl.Link{Index: at.link.Index})
	return conn.Do(&b)
}

// configure sets up the link: one send.
func (at *attaching) configure(ctx context.Context) error {
	at.call.Enter(calls.Container)
	if err := at.inside.Enter(ctx, at.container, &at.link); err != nil {
		return err
	}
	var b rtnl.Batch
	at.batch(&b)
	if err := at.inside.Do(&at.link, &b); err != nil {
		return err
	}
	if err := at.inside.AwaitIPv6(&at.link); err != nil {
		return err
	}
	at.inside.Finish()
	return nil
}

// batch is what configure sends.
func (at *attaching) batch(b *rtnl.Batch) {
	if at.link.Phase != endpoint.Answered {
		if alias := at.keys.alias(at.attachment); alias != "" {
			b.Set(rtnl.Link{Index: at.link.Index, Alias: alias})
		}
	}
	at.link.Batch(b)
}

// result says what the attachment got.
func (at *attaching) result() *spec.Result {
	return &spec.Result{CNIVersion: at.keys.conf.CNIVersion,
		Interfaces: []spec.Interface{{Name: at.link.Name, MAC: at.mac.String(), Sandbox: at.attachment.NetNS}},
		IPs:        at.link.IPs, Routes: at.link.Routes, DNS: at.dns}
}
