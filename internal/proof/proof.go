// SPDX-License-Identifier: Apache-2.0

// Package proof finds attachments that can't exist any more.
package proof

import (
	"strings"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostid"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A Proof finds attachments that can't exist any more. An attachment that isn't proven dead lives.
// Some things prove nothing: a boot ID that somebody has mounted over, or a link's name, MAC,
// alias, bridge or namespace that somebody has changed. A Proof is for one look at the host: it
// doesn't see links that are made later.
type Proof struct {
	host   hostid.ID
	conn   *rtnl.Conn
	veths  *census // in every namespace that may have one; nil: not read yet
	unread error   // why they can't be read
	real   *bool   // whether the boot ID is the kernel's own; nil: not asked yet
}

// A census has the marks of every veth.
type census struct {
	indexes map[int]bool
	marks   map[string]bool // aliases
	macs    map[string]bool // hardware addresses, as bytes
}

// New begins a look at the host from the namespace of a conn, which must be the calling thread's.
func New(conn *rtnl.Conn) (*Proof, error) {
	host, err := hostid.Read(nil)
	return On(host, conn), err
}

// On is New for a host that is known already.
func On(h hostid.ID, conn *rtnl.Conn) *Proof { return &Proof{host: h, conn: conn} }

// AliveOn returns the test for life of a network's records.
func (p *Proof) AliveOn(network string) func(ipam.Record) bool {
	return func(r ipam.Record) bool { return !p.Dead(network, r) }
}

// Dead reports whether the attachment that a record describes provably doesn't exist. There are two
// proofs.
//
// No end of its veth is in any namespace in which it could be. This proof needs a host end that was
// made in this namespace. The kernel keeps a number here for the namespace of the other end, for as
// long as that lives.
//
// Its boot has ended. This proof needs that the IDs of both boots are the kernel's own, and that
// the record was made on this host.
func (p *Proof) Dead(network string, r ipam.Record) bool {
	linked, another := r.Index != 0, r.Boot != p.host.Boot
	if r.Boot == "" || linked && p.isHere(r) {
		return false
	}
	if linked && r.NetNS == p.host.NetNS.Ino && !(another && r.Shared) && p.count() == nil {
		return !p.veths.has(network, r)
	}
	return another && r.TrueBoot && !r.Shared && p.BootIsReal()
}

// isHere asks for the record's link in this namespace, by index and by name. A link with either may
// be it.
func (p *Proof) isHere(r ipam.Record) bool {
	if _, err := p.conn.Name(r.Index); !fault.Absent(err) {
		return true
	}
	_, err := p.conn.Index(r.Link)
	return r.Link != "" && !fault.Absent(err)
}

// count makes the census, once.
func (p *Proof) count() error {
	if p.veths != nil || p.unread != nil {
		return p.unread
	}
	c := &census{indexes: map[int]bool{}, marks: map[string]bool{}, macs: map[string]bool{}}
	for l, err := range p.conn.LinksEverywhere(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			p.unread = err
			return err
		}
		c.indexes[l.Index] = true
		c.marks[l.Alias], c.macs[string(l.MAC)] = true, true
	}
	p.veths = c
	return nil
}

// has looks for both ends of a record's veth. An end that is moved keeps its index, unless another
// link there has it.
func (c *census) has(network string, r ipam.Record) bool {
	text := names.Alias(nft.Owner{Network: network, ContainerID: r.Owner.ContainerID, IfName: r.Owner.IfName})
	return c.indexes[r.Index] || r.Index >= names.Least && c.indexes[r.Index+1] || text != "" && c.marks[text] || len(r.MAC) > 0 && c.macs[string(r.MAC)]
}

// Boot is this boot's ID.
func (p *Proof) Boot() string { return p.host.Boot }

// BootIsReal reports whether the boot ID is known to be the kernel's own.
func (p *Proof) BootIsReal() bool {
	if p.real == nil {
		is := p.host.BootIsReal()
		p.real = &is
	}
	return *p.real
}

// DeadOwner reports whether the attachment of an owner without a record provably doesn't exist. It
// requires that bridge or ptp made it in this namespace. A name that was cut tells nothing.
func (p *Proof) DeadOwner(o nft.Owner) bool {
	if strings.Contains(o.String(), "~") { // nft.Owner.Short has cut it
		return false
	}
	for attempt := range names.Attempts {
		nm := names.Of(o.Network, o.ContainerID, o.IfName, attempt)
		if !p.Dead(o.Network, Record(nm, ipam.Owner{ContainerID: o.ContainerID, IfName: o.IfName}, p.host)) {
			return false
		}
	}
	return true
}

// IsBack reports whether an owner that was dead may live again: bridge and ptp make a link in this
// namespace before they touch the ruleset. Unlike other methods it looks anew each time.
func (p *Proof) IsBack(o nft.Owner) bool {
	for attempt := range names.Attempts {
		nm := names.Of(o.Network, o.ContainerID, o.IfName, attempt)
		if p.isHere(Record(nm, ipam.Owner{}, p.host)) {
			return true
		}
	}
	return false
}

// Record is the evidence of an attachment that is being made.
func Record(nm names.Names, o ipam.Owner, h hostid.ID) ipam.Record {
	return ipam.Record{Owner: o, Boot: h.Boot, NetNS: h.NetNS.Ino, Link: nm.Link, Index: nm.Index, MAC: nm.MAC}
}
