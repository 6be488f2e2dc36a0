// SPDX-License-Identifier: Apache-2.0

// Package hostdevice is the plugin that lends a container a link of the host's: a network card, or
// a part of one.
package hostdevice

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/undo"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Add lends the link.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	userspace, err := k.checkAdd(a)
	if err != nil {
		return nil, err
	}
	call := process.Of(ctx)
	call.Enter(calls.Namespace)
	at := &attaching{call: call, told: c, keys: k, attachment: a}
	if _, err := addresses.Another(ctx, k.conf); err != nil {
		return nil, err
	}
	if at.host, err = hostid.Read(call); err != nil {
		return nil, err
	}
	if at.container, err = netns.Open(a, at.host.NetNS); err != nil {
		return nil, err
	}
	defer at.container.Close()
	return at.run(ctx, userspace)
}

// open opens the container's namespace.
func open(ctx context.Context, a spec.Attachment) (*rtnl.NetNS, error) {
	host, err := process.Of(ctx).NetNS()
	if err != nil {
		return nil, fault.Wrap("identify the host's network namespace", err)
	}
	return netns.Open(a, host)
}

// checkAdd finds whatever is wrong with the input, before anything is touched. userspace reports
// that there's no link to move.
func (k *Keys) checkAdd(a spec.Attachment) (userspace bool, _ error) {
	if err := netconf.AttachmentError(a); err != nil {
		return false, err
	}
	if a.NetNS == "" {
		return false, fault.Missing("CNI_NETNS")
	}
	return k.checkDevice()
}

// checkDevice finds what is wrong with the keys, or with the device on its bus.
func (k *Keys) checkDevice() (userspace bool, _ error) {
	if err := k.wrong(); err != nil {
		return false, err
	}
	if err := k.isThere(); err != nil {
		return false, err
	}
	userspace, err := k.userspace()
	if err == nil && userspace && k.takesL3 {
		err = fault.Key("useInterfaceNetwork", "useInterfaceNetwork is not supported for dpdk-bound devices")
	}
	return userspace, err
}

// attaching is one attachment: what it's for, what it holds open, and how to take it back.
type attaching struct {
	call       *process.Call
	told       *verbs.Call
	keys       *Keys
	attachment spec.Attachment
	host       hostid.ID
	container  *rtnl.NetNS

	passage passage
	inside  endpoint.Inside
	lent    rtnl.LinkState // as it was on the host
	link    endpoint.Link
	network network // the link's own, on the host
	copied  bool    // the container has it
	undo    undo.List
}

func (at *attaching) run(ctx context.Context, userspace bool) (_ *spec.Result, err error) {
	p := &at.passage
	p.keys, p.ifName, p.mark = at.keys, at.attachment.IfName, at.keys.mark(at.attachment)
	if p.host, err = at.call.Route(); err != nil {
		return nil, fault.Wrap("open a netlink socket", err)
	}
	defer at.call.CloseRoute(p.host)
	if p.inside, err = rtnl.DialWith(ctx, at.container, nil); err != nil {
		return nil, fault.Wrap("open a netlink socket in the container", err)
	}
	defer p.inside.Close()
	defer at.inside.Leave()
	defer func() {
		if err != nil {
			at.call.Enter(calls.Undo)
			at.undo.Run()
			err = fault.Of(err)
		}
	}()
	switch {
	case userspace:
		return at.tell(ctx)
	case at.keys.conf.Delegates():
		return at.ask(ctx)
	}
	return at.lend(ctx)
}

// tell is all that's done for a device that a program of DPDK's has.
func (at *attaching) tell(ctx context.Context) (*spec.Result, error) {
	given, err := at.reserve(ctx)
	if err != nil {
		return nil, err
	}
	at.link.Take(at.keys.conf, given, 0)
	return at.result(given), nil
}

// lend moves the link once there are addresses: the host keeps its link if there are none.
func (at *attaching) lend(ctx context.Context) (*spec.Result, error) {
	if err := at.find(); err != nil {
		return nil, err
	}
	given, err := at.reserve(ctx)
	if err != nil {
		return nil, err
	}
	if err := at.take(); err != nil {
		return nil, err
	}
	return at.configure(ctx, given)
}

// ask moves the link and brings it up before it has a program asked for addresses, which may have to
// find them by the link.
func (at *attaching) ask(ctx context.Context) (*spec.Result, error) {
	if err := at.find(); err != nil {
		return nil, err
	}
	if err := at.take(); err != nil {
		return nil, err
	}
	at.link.Phase = endpoint.Asking
	if err := at.setUp(ctx); err != nil {
		return nil, err
	}
	given, err := at.reserve(ctx)
	if err != nil {
		return nil, err
	}
	at.link.Phase = endpoint.Answered
	return at.configure(ctx, given)
}

// mark is the alternative name of an attachment's link.
func (k *Keys) mark(a spec.Attachment) string {
	return names.Moved(k.conf.Name, a.ContainerID, a.IfName)
}

// find finds the device, reads what the container is to get of it, and sees whether its name is free
// there.
func (at *attaching) find() error {
	at.call.Enter(calls.Links)
	p := &at.passage
	l, err := p.device()
	if err != nil {
		return err
	}
	index, err := p.inside.Index(p.ifName)
	switch {
	case err == nil && !(index == l.Index && at.sharesNetNS()):
		return &spec.Error{Code: spec.CodeAttached, Key: "CNI_IFNAME", Msg: "failed to move link failed to move " + strconv.Quote(p.ifName) +
			" (host: " + strconv.Quote(l.Name) + ") to container NS: file exists", Details: "the container has another link of that name"}
	case err != nil && !fault.Absent(err):
		return fault.Wrap("look into the container", err)
	}
	at.lent = l
	return at.capture()
}

func (at *attaching) sharesNetNS() bool { return at.attachment.SharedNetNS }

// device finds the device's link. One that came back from a container that has ended has another
// name, and gets its own again. So does one that the attachment itself has left behind.
func (p *passage) device() (rtnl.LinkState, error) {
	l, err := p.keys.find(p.host)
	if err != nil && fault.Absent(err) {
		if stray, ok := p.stray(); ok {
			l, err = stray, nil
		}
	}
	if err != nil {
		return l, err
	}
	if other, ok, _ := marked(p.host, p.mark); ok && other.Index != l.Index {
		if err := p.restore(other); err != nil {
			return l, err
		}
	}
	if !isStray(l) {
		return l, nil
	}
	if err := p.restore(l); err != nil {
		return l, err
	}
	return p.host.LinkByIndex(l.Index)
}

// isStray reports whether a link of the host's is back from a container, under another name. An
// attachment that is on its way has the link's present name in the alias.
func isStray(l rtnl.LinkState) bool { return isMoved(l) && isName(l.Alias) && l.Alias != l.Name }

// stray looks for the device among links that came back under another name.
func (p *passage) stray() (found rtnl.LinkState, ok bool) {
	if p.keys.device == "" {
		return found, false
	}
	found, ok, _ = first(p.host, func(l *rtnl.LinkState) bool { return isStray(*l) && l.Alias == p.keys.device })
	return found, ok
}

// take moves the link into the container.
func (at *attaching) take() error {
	at.call.Enter(calls.Links)
	p := &at.passage
	at.undo.Push("link", func() error {
		return errors.Join(p.takeBack(at.lent), at.network.giveBack(p.host, at.lent.Name))
	})
	if err := p.take(at.lent, at.container); err != nil {
		return p.refused(at.lent.Name, err)
	}
	index, err := p.inside.Index(p.ifName)
	if err != nil {
		return fault.Wrap("failed to find "+strconv.Quote(p.ifName)+" in container NS", err)
	}
	at.link.Name, at.link.Index = p.ifName, index
	return nil
}

// refused is the error of a move. A link that is gone was another's faster.
func (p *passage) refused(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e := errNotFound("device", "Link not found", err)
		return fault.Because(e, strconv.Quote(name)+" has left the host meanwhile: another container may have it")
	case errors.Is(err, fs.ErrExist):
		return &spec.Error{Code: spec.CodeAttached, Key: "CNI_IFNAME", Err: err, Msg: "failed to move link failed to move " + strconv.Quote(p.ifName) +
			" (host: " + strconv.Quote(name) + ") to container NS: file exists", Details: err.Error()}
	}
	return fault.Wrap("failed to move link failed to move "+strconv.Quote(name), err)
}

// reserve asks for addresses. Without an IPAM plugin there are none.
func (at *attaching) reserve(ctx context.Context) (given *spec.Result, err error) {
	conf := at.keys.conf
	from := addresses.Of(conf)
	if from == nil {
		return &spec.Result{}, nil
	}
	at.call.Enter(calls.Lease)
	giveBack := func() error { return addresses.GiveBack(ctx, from, at.attachment) }
	if conf.IPAM.Plugin == netconf.HostLocal {
		if given, err = addresses.Give(ctx, conf, at.attachment, at.host, at.passage.host); err == nil {
			at.undo.Push("addresses", giveBack)
		}
		return given, err
	}
	at.undo.Push("addresses", giveBack)
	if given, err = from.Add(ctx, at.told, at.attachment); err == nil && len(given.IPs) == 0 && !at.keys.takesL3 {
		err = fault.Key("ipam", "IPAM plugin returned missing IP config")
	}
	return given, err
}

// configure gives the link its addresses and routes, and brings it up.
func (at *attaching) configure(ctx context.Context, given *spec.Result) (*spec.Result, error) {
	at.link.Take(at.keys.conf, given, 0)
	if err := at.setUp(ctx); err != nil {
		return nil, err
	}
	if err := at.inside.AwaitIPv6(&at.link); err != nil {
		return nil, err
	}
	at.inside.Finish()
	return at.result(given), nil
}

// setUp makes the link's settings, and sends what there is to send.
func (at *attaching) setUp(ctx context.Context) error {
	at.call.Enter(calls.Container)
	if err := at.inside.Enter(ctx, at.container, &at.link); err != nil {
		return err
	}
	if err := at.copyNetwork(); err != nil {
		return err
	}
	var b rtnl.Batch
	at.link.Batch(&b)
	return at.inside.Do(&at.link, &b)
}

// result says what the attachment got.
func (at *attaching) result(given *spec.Result) *spec.Result {
	a := at.attachment
	link := spec.Interface{Name: a.IfName, MAC: at.lent.MAC.String(), Sandbox: a.NetNS}
	if at.lent.Index == 0 { // a device without a link has no address either
		link.MAC = ""
	}
	res := &spec.Result{CNIVersion: at.keys.conf.CNIVersion, Interfaces: []spec.Interface{link}, IPs: at.link.IPs, Routes: at.link.Routes}
	if at.keys.conf.HasAddresses() {
		res.DNS = endpoint.DNS(at.keys.conf, given)
	}
	at.network.tell(res)
	return res
}

// Check finds out whether the link is there, with its addresses and routes.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	userspace, err := k.checkDevice()
	switch {
	case err != nil:
		return err
	case c.PrevErr != nil:
		return c.PrevErr
	case c.Prev == nil:
		return fault.Key("prevResult", "Required prevResult missing")
	}
	container, err := open(ctx, a)
	if err != nil {
		return err
	}
	defer container.Close()
	if from := addresses.Of(k.conf); from != nil {
		if err := from.Check(ctx, c, a); err != nil {
			return err
		}
	}
	if userspace {
		return nil
	}
	inside, err := rtnl.DialWith(ctx, container, nil)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer inside.Close()
	return look(inside, c.Prev, a)
}

func look(inside *rtnl.Conn, prev *spec.Result, a spec.Attachment) error {
	recorded, err := endpoint.Recorded(prev, a)
	if err != nil {
		return err
	}
	l, err := inside.Link(a.IfName)
	switch {
	case err != nil:
		return fault.Wrap("Container Interface name in prevResult: "+a.IfName+" not found", err)
	case recorded.MAC != "" && recorded.MAC != l.MAC.String():
		return fault.Wrong("Interface " + a.IfName + " Mac " + recorded.MAC + " doesn't match container Mac: " + l.MAC.String())
	}
	return endpoint.Look(inside, l, prev)
}

// Status says whether the next Add can be expected to succeed. Where the device is, is no matter: a
// container may have it.
func (k *Keys) Status(ctx context.Context, c *verbs.Call) error {
	if err := k.Wrong(spec.Attachment{}); err != nil {
		return err
	}
	if from := addresses.Of(k.conf); from != nil {
		return from.Status(ctx, c)
	}
	return nil
}
