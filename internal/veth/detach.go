// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/calls"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Del takes an attachment away. Of a configuration that's wrong it uses what could be read.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	call := process.Of(ctx)
	call.Enter(calls.Namespace)
	host, err := hostid.Read(call)
	if err != nil {
		return err
	}
	d := &detaching{call: call, keys: k, attachment: a, prev: c.Prev, host: host}
	defer d.close()
	if err := d.open(); err != nil {
		return err
	}
	if k.conf.Delegates() {
		err = d.asking(ctx)
	} else {
		err = d.underLock(ctx)
	}
	if err = errors.Join(err, d.netnsErr); err != nil {
		return fault.Of(err)
	}
	return nil
}

// detaching is one attachment on its way out.
type detaching struct {
	call       *process.Call
	keys       *Keys
	attachment spec.Attachment
	prev       *spec.Result // as the runtime handed it back, or nil
	host       hostid.ID
	container  *rtnl.NetNS // nil when it's gone
	conn       *rtnl.Conn

	netnsErr  error       // the container's namespace is the host's own
	record    ipam.Record // what the store knows; its zero value knows nothing
	storeLost bool        // there is no store to know anything
}

func (d *detaching) open() error {
	if d.attachment.NetNS != "" {
		ns, err := netns.Open(d.attachment, d.host.NetNS)
		var e *spec.Error
		if errors.As(err, &e) && e.Code == spec.CodeInvalidNetNS {
			// Its process's number is a host's process now: what it held is freed all the same.
			d.netnsErr = err
		}
		// A path that leads nowhere, or to the plain file that a lost mount leaves, is a namespace
		// that's gone.
		d.container = ns
	}
	conn, err := d.call.Route()
	d.conn = conn
	return fault.Wrap("open a netlink socket", err)
}

func (d *detaching) close() {
	if d.container != nil {
		d.container.Close()
	}
	if d.conn != nil {
		d.call.CloseRoute(d.conn)
	}
}

// enter begins a step of a call that's recorded.
func (d *detaching) enter(s calls.Step) { d.call.Enter(s) }

// asking releases the addresses by the plugin that gave them. However that ends, the link goes at
// once: nobody may use an address that's released, and another DEL tells the plugin again.
func (d *detaching) asking(ctx context.Context) error {
	err := d.elements()
	d.enter(calls.Lease)
	err = errors.Join(err, d.keys.addresses().Del(ctx, nil, d.attachment))
	return errors.Join(err, d.link(ctx))
}

// underLock does it where this package has the leases, if there are any. An error of one step
// doesn't keep the others from being done, but a lease is only released once nothing uses its
// address.
func (d *detaching) underLock(ctx context.Context) (err error) {
	n := d.keys.conf
	if n.IPAM.Plugin != netconf.HostLocal {
		return errors.Join(d.elements(), d.link(ctx))
	}
	d.enter(calls.Lease)
	store, err := ipam.OpenExisting(ctx, n.IPAM.DataDir, n.Name)
	d.storeLost = err != nil
	if err != nil {
		if fault.Absent(err) {
			err = nil
		}
		return errors.Join(fault.Wrap("open the lease store", err), d.elements(), d.link(ctx))
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	owner := names.Lessee(d.attachment)
	record, _, err := store.Lookup(owner)
	if err != nil {
		return errors.Join(fault.Wrap("look up the lease", err), d.elements(), d.link(ctx))
	}
	d.record = record
	if err := errors.Join(d.elements(), d.link(ctx)); err != nil {
		return err
	}
	d.enter(calls.Lease)
	return fault.Wrap("release the lease", store.Release(owner))
}

// elements removes what the ruleset holds for this owner, whatever the configuration says today.
func (d *detaching) elements() error {
	d.enter(calls.Rules)
	conn, err := d.call.Rules()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer d.call.CloseRules(conn, true)
	owner := d.keys.owner(d.attachment)
	addrs, known := d.addresses()
	if !known {
		return fault.Unsupported(errors.Join(conn.DetachOwner(owner), rules.EndFollowing(conn, owner.Network, []nft.Owner{owner})))
	}
	err = conn.Detach(nft.Sender{Owner: owner, Masquerade: addrs, Guard: d.guard()})
	if d.record.Boot == "" && len(d.record.Addrs) > 0 {
		// host-local's lease: the reference may have attached it, by iptables.
		err = errors.Join(err, conn.DetachIPTables(owner, d.record.Addrs))
	}
	return fault.Unsupported(errors.Join(err, rules.EndLeading(conn, owner, addrs)))
}

// addresses says where to look for elements: the leases, else what the runtime handed back, with
// their subnets' lengths. When neither is there but the attachment may have had addresses, or a
// length isn't known, they aren't.
func (d *detaching) addresses() (list []netip.Prefix, known bool) {
	n := d.keys.conf
	list = append(list, d.record.Prefixes...)
	if d.prev != nil {
		for _, ip := range d.prev.IPs {
			if !slices.Contains(list, ip.Address) {
				list = append(list, ip.Address)
			}
		}
	}
	for _, a := range d.record.Addrs {
		if !slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Addr() == a }) {
			// A lease of the reference's: it never made an element of ours, unless the store was
			// rebuilt.
			if bits := subnetBits(n.IPAM.Sets, a); bits >= 0 {
				list = append(list, netip.PrefixFrom(a, bits))
				continue
			}
			return nil, false
		}
	}
	switch {
	case list != nil || !n.HasAddresses(): // without IPAM there never were any
		return list, true
	case n.IPAM.Plugin != netconf.HostLocal || d.storeLost:
		return nil, false
	}
	// host-local's store would know, unless it lost the lease of a link that's still there.
	return nil, d.hostEnd() == 0
}

// subnetBits returns the length of the subnet that the configuration puts an address in, or -1.
func subnetBits(sets []ipam.RangeSet, a netip.Addr) int {
	for _, set := range sets {
		for _, r := range set {
			if r.Subnet.Contains(a) {
				return r.Subnet.Bits()
			}
		}
	}
	return -1
}

// guard says where to look for the spoof check's elements, which may be there though the key isn't
// any more.
func (d *detaching) guard() *nft.Guard {
	g := &nft.Guard{HostLink: d.hostLink()}
	if d.prev != nil {
		for _, i := range d.prev.Interfaces {
			if i.Name == d.attachment.IfName && i.Sandbox != "" {
				g.MAC, _ = net.ParseMAC(i.MAC)
			}
		}
	}
	return g
}

func (d *detaching) hostLink() string {
	if d.record.Link != "" {
		return d.record.Link
	}
	if d.prev != nil {
		// The configuration may have called it otherwise then.
		if name, index := names.Shown(d.keys.conf.Name, d.attachment, d.prev); index != 0 {
			return name
		}
	}
	return d.keys.namesOf(d.attachment, 0).Link
}

// link removes the pair of links by its host end, which is known by the record or by its derived
// names; one that the reference made is known by its name in the container alone.
func (d *detaching) link(ctx context.Context) error {
	d.enter(calls.Links)
	defer d.neighbours()
	if index := d.hostEnd(); index != 0 {
		return d.remove(ctx, d.conn, index)
	}
	if d.container == nil {
		return nil
	}
	conn, err := rtnl.DialWith(ctx, d.container, nil)
	if err != nil {
		return fault.Wrap("open a netlink socket in the container", err)
	}
	defer conn.Close()
	l, err := conn.Link(d.attachment.IfName)
	if fault.Absent(err) || err == nil && (l.Kind != "veth" || d.isAnothers(l.Index)) {
		return nil // gone, or not an attachment's, or the path leads to another container by now
	}
	if err != nil {
		return fault.Wrap("failed to lookup "+strconv.Quote(d.attachment.IfName), err)
	}
	if index := peerHere(conn, l); index != 0 {
		return d.remove(ctx, d.conn, index)
	}
	// No socket of the container's may outlive this call, so there's nobody to leave it to.
	if err := conn.Do(deletion(rtnl.Link{Index: l.Index})); err != nil && !fault.Absent(err) {
		return fault.Wrap("failed to delete the link", err)
	}
	return nil
}

// peerHere returns the index of a container's link's other end on this host, or 0 if it's
// elsewhere.
func peerHere(inside *rtnl.Conn, l rtnl.LinkState) int {
	host, err := rtnl.CurrentNetNS()
	if err != nil {
		return 0
	}
	defer host.Close()
	index, err := inside.PeerIn(host, l)
	if err != nil {
		return 0
	}
	return index
}

// hostEnd returns the index of the attachment's host end, or 0. Index and MAC are derived from the
// owner, and hold through a rename; where somebody has set the MAC, name and alias tell. A name
// alone may be that of another owner whose hash begins alike, and a record anybody's; an alias
// alone may have been written to another's link, whose index was ours too, by an ADD that then took
// the next one.
func (d *detaching) hostEnd() int {
	for attempt := range names.Attempts {
		nm := d.keys.namesOf(d.attachment, attempt)
		if name, err := d.conn.Name(nm.Index); err == nil && (d.hasMAC(name, nm.MAC.String()) || name == nm.Link && d.hasAlias(nm.Index)) {
			return nm.Index
		}
	}
	return 0
}

// isAnothers reports whether a link in the container is one that some other owner's names chose.
func (d *detaching) isAnothers(index int) bool {
	for attempt := range names.Attempts {
		if d.keys.namesOf(d.attachment, attempt).IsPeer(index) {
			return false
		}
	}
	return index >= names.Least
}

func (d *detaching) hasMAC(link, mac string) bool {
	got, err := d.conn.MAC(link)
	return err == nil && got.String() == mac
}

func (d *detaching) hasAlias(index int) bool {
	l, err := d.conn.LinkByIndex(index)
	return err == nil && l.Alias != "" && l.Alias == names.Alias(d.keys.owner(d.attachment))
}

// remove returns when the link is unlisted, not when its memory is freed.
func (d *detaching) remove(ctx context.Context, conn *rtnl.Conn, index int) error {
	if err := conn.Remove(ctx, index); err != nil && !fault.Absent(err) {
		return fault.Wrap("failed to delete the link", err)
	}
	return nil
}

func deletion(o rtnl.Object) *rtnl.Batch {
	var b rtnl.Batch
	b.Delete(o)
	return &b
}
