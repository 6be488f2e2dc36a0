// SPDX-License-Identifier: Apache-2.0

package hostdevice

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Del gives the link back to the host, from wherever it is. A program that gave the addresses is
// told before, as it may have to tell a server by the link. Leases of our own end afterwards, when
// nobody uses the addresses any more.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	release := func() error {
		from := addresses.Of(k.conf)
		if from == nil {
			return nil
		}
		process.Of(ctx).Enter(calls.Lease)
		return from.Del(ctx, c, a)
	}
	if userspace, _ := k.userspace(); userspace {
		return fault.Join(release())
	}
	call := process.Of(ctx)
	call.Enter(calls.Links)
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	p := &passage{keys: k, host: conn, ifName: a.IfName, mark: k.mark(a)}
	container, away := reach(ctx, a)
	if container != nil {
		defer container.Close()
	} else if kept, err := p.isElsewhere(); kept || err != nil {
		return fault.Join(away, err)
	}
	switch {
	case k.conf.Delegates():
		err := release()
		_, outErr := p.takeOut(ctx, container)
		return fault.Join(away, err, outErr)
	case away != nil && fault.Of(away).Code != spec.CodeInvalidNetNS:
		return away
	}
	found, err := p.takeOut(ctx, container)
	if err != nil {
		return fault.Join(away, err)
	}
	if !found && container != nil && addresses.Of(k.conf) != nil {
		// The way may lead to another namespace by now, or the container has moved the link on.
		if kept, err := p.isElsewhere(); kept || err != nil {
			return fault.Join(away, err)
		}
	}
	return fault.Join(away, release())
}

// reach opens the container's namespace. It returns nil if there's no way to it, and the error if
// there should be one.
func reach(ctx context.Context, a spec.Attachment) (*rtnl.NetNS, error) {
	if a.NetNS == "" {
		return nil, nil
	}
	container, err := open(ctx, a)
	if netns.Gone(err) {
		err = nil
	}
	return container, err
}

// isElsewhere reports whether a namespace that lives has the link, or may have it. Nobody can move it
// from there without the way to it, so it keeps its address, until a DEL that knows the way or until
// the namespace ends.
func (p *passage) isElsewhere() (bool, error) {
	lent, err := p.keys.lent(p.host)
	return lent.keeps(p.mark), err
}

// lent are the links that containers have.
type lent struct {
	marks    []string
	unmarked bool // one without a mark may be the device
}

// keeps reports whether the attachment with a mark may have its link. A doubt means that it has.
func (l *lent) keeps(mark string) bool { return l.unmarked || slices.Contains(l.marks, mark) }

// lent looks for them in all namespaces but the host's. The kernel numbers a namespace that a link
// moves to (__dev_change_net_namespace, net/core/dev.c), so they are listed.
func (k *Keys) lent(conn *rtnl.Conn) (found lent, _ error) {
	_, err := k.find(conn)
	here := err == nil
	for l, err := range conn.LinksEverywhere(rtnl.LinkFilter{}) {
		if err != nil {
			return found, fault.Wrap("list links", err)
		}
		marked := isMoved(l)
		if !marked && (here || !k.mayBe(l)) {
			continue
		}
		// Look-ups by a mark don't find the host's on each kernel (inContainer), so it's the index that tells.
		own, err := conn.LinkByIndex(l.Index)
		switch {
		case err != nil && !fault.Absent(err):
			return found, fault.Wrap("look for a link on the host", err)
		case err == nil && own.Name == l.Name && own.Alias == l.Alias && slices.Equal(own.AltNames, l.AltNames):
		case marked:
			found.marks = append(found.marks, l.AltNames...)
		default:
			found.unmarked = true
		}
	}
	return found, nil
}

// mayBe reports whether a link without a mark may be the device in a container. There are no marks
// before Linux 5.5 and with the reference, and a container may take one away. A device on a bus is
// known by its directory alone, which is the host's: each card may be it, and lo, with index 1, isn't.
func (k *Keys) mayBe(l rtnl.LinkState) bool {
	switch {
	case !isName(l.Alias):
		return false
	case k.device != "":
		return l.Alias == k.device || slices.Contains(l.AltNames, k.device)
	case k.mac != nil:
		return bytes.Equal(l.MAC, k.mac)
	}
	return k.names() && l.Kind == "" && l.Index != 1
}

// takeOut finds the link in the container or, where the way to that has ended, on the host. It
// reports whether it has found it.
func (p *passage) takeOut(ctx context.Context, container *rtnl.NetNS) (bool, error) {
	name, err := p.leave(ctx, container)
	if err != nil {
		return false, err
	}
	l, ok, err := marked(p.host, p.mark)
	if err == nil && !ok && name != "" { // the reference's has no mark
		l, err = p.host.Link(name)
		ok = err == nil
	}
	if err != nil && !fault.Absent(err) {
		return false, fault.Wrap("look for the link on the host", err)
	}
	if !ok {
		return false, nil
	}
	return true, p.restore(l)
}

// leave moves the link out of the container, if it's there, and returns its name on the host.
func (p *passage) leave(ctx context.Context, container *rtnl.NetNS) (name string, err error) {
	if container == nil {
		return "", nil
	}
	if p.inside, err = rtnl.DialWith(ctx, container, nil); err != nil {
		return "", fault.Wrap("open a netlink socket in the container", err)
	}
	defer p.inside.Close()
	l, ok, err := p.inContainer(p.ifName)
	if !ok || err != nil {
		return "", fault.Wrap("look into the container", err)
	}
	if name = p.keys.hostName(l); name == "" {
		name = l.Name
	}
	err = p.giveBack(l, name)
	if fault.Absent(err) { // it's gone, as where its other end was deleted
		return "", nil
	}
	return name, err
}

// GC gives links their names back that the kernel has moved to the host, as their containers have
// ended, but for those of valid attachments. What an IPAM plugin holds for others ends, unless they
// still have their links.
func (k *Keys) GC(ctx context.Context, c *verbs.Call, valid []spec.Attachment) error {
	keep := make([]string, len(valid))
	for i, a := range valid {
		keep[i] = k.mark(a)
	}
	call := process.Of(ctx)
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	return fault.Join(k.gather(conn, keep), k.endLeases(ctx, c, conn, valid))
}

// endLeases ends leases of ours but for those of valid attachments, and of those whose link a
// container may have: nothing but DEL takes it out, and it keeps its address.
func (k *Keys) endLeases(ctx context.Context, c *verbs.Call, conn *rtnl.Conn, valid []spec.Attachment) error {
	from := addresses.Of(k.conf)
	local, ok := from.(*hostlocal.Keys)
	switch {
	case from == nil:
		return nil
	case !ok:
		return from.GC(ctx, c, valid)
	}
	if err := k.wrongAddresses(); err != nil {
		return err
	}
	lent, err := k.lent(conn)
	if err != nil {
		return err
	}
	_, err = local.EndAll(ctx, func(r ipam.Record) bool {
		return lent.keeps(k.mark(spec.Attachment{ContainerID: r.Owner.ContainerID, IfName: r.Owner.IfName})) ||
			slices.ContainsFunc(valid, func(v spec.Attachment) bool { return names.Lessee(v) == r.Owner })
	}, func(*ipam.Store) {}, nil)
	return err
}

// Reclaim is GC for all that came back.
func (k *Keys) Reclaim(ctx context.Context, c *verbs.Call) error {
	call := process.Of(ctx)
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	return fault.Join(k.gather(conn, nil), addresses.Reclaim(ctx, c, k.conf, conn))
}

// gather restores the network's links on the host, but for those with marks to keep.
func (k *Keys) gather(conn *rtnl.Conn, keep []string) (err error) {
	p := &passage{keys: k, host: conn}
	for l, listErr := range conn.Links(rtnl.LinkFilter{}) {
		if listErr != nil {
			return errors.Join(err, fault.Wrap("list links", listErr))
		}
		ours := func(name string) bool { return names.IsMovedBy(k.conf.Name, name) && !slices.Contains(keep, name) }
		if isStray(l) && slices.ContainsFunc(l.AltNames, ours) {
			err = errors.Join(err, p.restore(l))
		}
	}
	return err
}
