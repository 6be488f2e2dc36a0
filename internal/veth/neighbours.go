// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A sender must know the MAC of a container. For IPv4 everybody asks by ARP, and a container
// answers as soon as its port forwards. With IPv6 more can go wrong, and each time the next
// question comes a second later:
//
//   - The host asks for the sake of what it forwards from a link-local address, and asks nobody as long as the bridge's
//     is being looked for duplicates of (ndisc_send_ns, net/ipv6/ndisc.c): so the host is told the MAC.
//   - A container doesn't hear the question before its address is in use, and where the bridge has a multicast querier not
//     before the bridge has heard what the container listens to: so both are waited for.
//   - The MAC is derived from the IPv4 address. One IPv6 address may come with another each time: so the host is told here
//     too, and the other neighbours where they may know an address by an earlier owner's MAC.

// neighbourBatch tells a link of the host the MAC of the container's IPv6 addresses. Such an entry
// ages like one that was learnt: it's used at once, and then confirmed or forgotten.
func (p *plan) neighbourBatch(b *rtnl.Batch, link int) {
	for _, ip := range p.IPs {
		if addr := ip.Address.Addr(); addr.Is6() {
			b.Ensure(rtnl.Neigh{Link: link, Addr: addr, MAC: p.mac, State: rtnl.NeighStale})
		}
	}
}

// announcement tells the neighbours of the container's addresses, where they may know one by
// another MAC. With arp_notify and ndisc_notify the kernel does so when a link comes up, and when
// its MAC is set, though it's the same (inetdev_event, net/ipv4/devinet.c; ndisc_netdev_event,
// net/ipv6/ndisc.c). At the first of these the port might not forward yet, and the only
// announcement would be lost.
func (p *plan) announcement(b *rtnl.Batch) {
	if p.announce && p.keys.shared && len(p.IPs) > 0 && !p.keys.down {
		b.Set(rtnl.Link{Index: p.names.Peer, MAC: p.mac})
	}
}

// tellHost tells the host the MAC of the container's IPv6 addresses at a link of its own. That it
// can't be told, as where IPv6 is off, is no error: it will ask.
func (at *attaching) tellHost(link int) {
	var b rtnl.Batch
	at.plan.neighbourBatch(&b, link)
	if b.Len() == 0 {
		return
	}
	_ = at.conn.Do(&b)
	at.undo.Push("neighbours", func() error {
		forgetNeighbours(at.conn, link, at.plan.Addresses())
		return nil
	})
}

// forgetNeighbours ends what tellHost has begun.
func forgetNeighbours(conn *rtnl.Conn, link int, prefixes []netip.Prefix) {
	var b rtnl.Batch
	for _, p := range prefixes {
		if p.Addr().Is6() {
			b.Delete(rtnl.Neigh{Link: link, Addr: p.Addr()})
		}
	}
	if b.Len() > 0 {
		_ = conn.Do(&b)
	}
}

// neighbours has the host forget the MAC of the container's IPv6 addresses.
func (d *detaching) neighbours() {
	name := d.keys.side().neighbourLink(d.keys.conf)
	if name == "" {
		return
	}
	prefixes, _ := d.addresses()
	if !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		return
	}
	if link, err := d.conn.Index(name); err == nil {
		forgetNeighbours(d.conn, link, prefixes)
	}
}

// awaitIPv6 waits until the container's IPv6 addresses are in use.
func (at *attaching) awaitIPv6() error { return at.inside.AwaitIPv6(&at.plan.Link) }

// announce makes the settings by which the container tells of changes, and tells the neighbours
// where they must be told.
func (at *attaching) announce() error {
	at.inside.Finish()
	var b rtnl.Batch
	at.plan.announcement(&b)
	if b.Len() == 0 {
		return nil
	}
	return fault.Wrap("announce the container's addresses", at.inside.Conn.Do(&b))
}
