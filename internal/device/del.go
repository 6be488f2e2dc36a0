// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Del takes an attachment away. Of a configuration that's wrong it uses what could be read, and the
// master doesn't matter. Another program that gave the addresses is told before the link goes; a
// lease of ours ends when nothing uses its address any more.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	from := addresses.Of(k.conf)
	if from == nil {
		return k.endLink(ctx, a)
	}
	if k.conf.Delegates() {
		err := from.Del(ctx, c, a)
		return fault.Join(err, k.endLink(ctx, a))
	}
	err := k.endLink(ctx, a)
	var e *spec.Error
	if err != nil && !(errors.As(err, &e) && e.Code == spec.CodeInvalidNetNS) {
		return err
	}
	process.Of(ctx).Enter(calls.Lease)
	return fault.Join(from.Del(ctx, c, a), err)
}

// endLink removes the attachment's link. Without the way to its namespace the link is looked for in
// all that have a number: the namespace may go on living, and nobody else may have its address then.
func (k *Keys) endLink(ctx context.Context, a spec.Attachment) error {
	call := process.Of(ctx)
	call.Enter(calls.Namespace)
	elsewhere := func() error {
		return k.endLinks(ctx, func(of spec.Attachment) bool { return names.Lessee(of) == names.Lessee(a) })
	}
	if a.NetNS == "" {
		return elsewhere()
	}
	own, err := call.NetNS()
	if err != nil {
		return fault.Wrap("identify the host's network namespace", err)
	}
	ns, err := netns.Open(a, own)
	if netns.Gone(err) {
		return elsewhere()
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	call.Enter(calls.Container)
	conn, err := rtnl.DialWith(ctx, ns, nil)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer conn.Close()
	index, err := k.find(conn, a)
	if err != nil {
		return err
	}
	if index == 0 { // the way may lead to another namespace by now
		return elsewhere()
	}
	host, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(host)
	// It's sent from here, so that no socket keeps the container's namespace while the kernel frees
	// the link.
	if err := conn.RemoveBy(ctx, host, ns, index); err != nil && !fault.Absent(err) {
		return fault.Wrap("failed to delete the link", err)
	}
	return nil
}

// find returns the index of the attachment's link, or 0. The container may have given its name to
// another one, but it can't change the index, which is derived. Only the reference's links have
// another. A link that another owner's names chose is that owner's, as where the path leads to
// another container by now.
func (k *Keys) find(conn *rtnl.Conn, a spec.Attachment) (int, error) {
	named, err := conn.Link(a.IfName)
	if err != nil && !fault.Absent(err) {
		return 0, fault.Wrap("failed to lookup "+strconv.Quote(a.IfName), err)
	}
	if named.Kind == k.kind.driver() && k.isOurs(a, named.Index) {
		return named.Index, nil
	}
	for attempt := range names.Attempts {
		index := k.namesOf(a, attempt).Peer
		if _, err := conn.Name(index); err != nil {
			continue
		}
		if l, err := conn.LinkByIndex(index); err == nil && l.Kind == k.kind.driver() {
			return index, nil
		}
	}
	if named.Kind == k.kind.driver() && named.Index < names.Least {
		return named.Index, nil
	}
	return 0, nil
}

// isOurs reports whether the attachment's names chose an index.
func (k *Keys) isOurs(a spec.Attachment, index int) bool {
	for attempt := range names.Attempts {
		if k.namesOf(a, attempt).Peer == index {
			return true
		}
	}
	return false
}
