// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// held is an attachment, joined from leases, links and ruleset.
type held struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	// IfName is unset for leases of host-local before 0.7.
	IfName    string       `json:"ifName,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
	// Link is the host end. It's unset if only host-local knows the lease.
	Link       string         `json:"link,omitempty"`
	Exists     existence      `json:"linkExists"`
	Bridge     string         `json:"bridge,omitempty"`     // has the host end as a port
	Masquerade []netip.Prefix `json:"masquerade,omitempty"` // masqueraded addresses
	SpoofCheck bool           `json:"spoofCheck,omitempty"`
	Ports      []port         `json:"ports,omitempty"`
	Firewall   []netip.Addr   `json:"firewall,omitempty"` // addresses that the firewall lets through

	dir     string // of its leases
	leased  bool
	record  ipam.Record
	link    rtnl.LinkState // its Index is 0 if there is none
	element bool           // the ruleset has something for it
	ours    bool           // and that was made for a veth of bridge's or ptp's
	gone    bool           // the veth provably doesn't exist
	opened  []netip.Addr   // those of Firewall that our own rules let through
}

// port is a published port.
type port struct {
	Protocol      string     `json:"protocol"`
	HostIP        netip.Addr `json:"hostIP,omitzero"`
	HostPort      uint16     `json:"hostPort"`
	ContainerIP   netip.Addr `json:"containerIP"`
	ContainerPort uint16     `json:"containerPort"`

	text     string
	protocol nft.Protocol
}

// existence is whether a link exists, as far as that is known.
type existence string

const (
	exists  existence = "yes"
	missing existence = "no"
	unknown existence = "unknown"
)

func (h *held) owner() nft.Owner {
	return nft.Owner{Network: h.Network, ContainerID: h.ContainerID, IfName: h.IfName}
}

// node is the state of this host, in this network namespace.
type node struct {
	list  []*held
	links *links
	owned map[nft.Owner]*held // by the name that the ruleset has for them

	leasing map[string]bool // networks that have a directory of leases
	ours    map[string]bool // networks that bridge or ptp have attached to
	unread  map[string]bool // networks with leases that can't be read
	blind   error           // why links or rules couldn't be read
}

// readNode reads leases in some directories, links and ruleset. Its result is as complete as the
// errors allow.
func readNode(ctx context.Context, dirs []string) (*node, error) {
	n := &node{owned: map[nft.Owner]*held{}, leasing: map[string]bool{}, ours: map[string]bool{}, unread: map[string]bool{}}
	n.links, n.blind = readLinks()
	defer n.links.close()
	err := n.blind
	for _, dir := range dirs {
		names, dirErr := networksIn(dir)
		err = errors.Join(err, dirErr)
		for _, name := range names {
			n.leasing[nft.Owner{Network: name}.Short().Network] = true
			if leasesErr := n.readLeases(ctx, dir, name); leasesErr != nil {
				n.unread[nft.Owner{Network: name}.Short().Network] = true
				err = errors.Join(err, leasesErr)
			}
		}
	}
	n.addLinks()
	rulesErr := n.readRules()
	n.blind, err = errors.Join(n.blind, rulesErr), errors.Join(err, rulesErr)
	slices.SortFunc(n.list, func(a, b *held) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
	})
	for _, h := range n.list {
		h.gone = h.element && h.link.Index == 0 && n.links.goneOf(h.owner())
		slices.SortFunc(h.Addresses, netip.Addr.Compare)
		h.Addresses = slices.Compact(h.Addresses)
	}
	return n, err
}

// onlyLeasing leaves out networks that have no leases in the directories.
func (n *node) onlyLeasing() {
	n.list = slices.DeleteFunc(n.list, func(h *held) bool { return !n.leasing[h.owner().Short().Network] })
}

// leaseholders are the owners of leases.
func (n *node) leaseholders() (list []nft.Owner) {
	for _, h := range n.list {
		if h.leased {
			list = append(list, h.owner())
		}
	}
	return list
}

// know notes configurations, which are of bridge or ptp.
func (n *node) know(confs []*netconf) {
	for _, c := range confs {
		n.knowNetwork(c.network.Name())
	}
}

func (n *node) knowNetwork(name string) { n.ours[nft.Owner{Network: name}.Short().Network] = true }

// of returns an owner's entry, or a new one.
func (n *node) of(o nft.Owner) *held {
	short := o.Short()
	if n.owned[short] == nil {
		h := &held{Network: o.Network, ContainerID: o.ContainerID, IfName: o.IfName, Addresses: []netip.Addr{}, Exists: unknown}
		n.owned[short] = h
		n.list = append(n.list, h)
	}
	return n.owned[short]
}

// readLeases reads a network's leases once and its records once, however many there are.
func (n *node) readLeases(ctx context.Context, dir, network string) error {
	store, err := ipam.OpenReadOnly(ctx, dir, network)
	if err != nil {
		return err
	}
	of := func(o ipam.Owner) *held {
		return n.of(nft.Owner{Network: network, ContainerID: o.ContainerID, IfName: o.IfName})
	}
	for l, leaseErr := range store.Leases() {
		if leaseErr != nil {
			err = errors.Join(err, inDir(dir, network, leaseErr))
			continue
		}
		h := of(l.Owner)
		h.Addresses, h.leased, h.dir = append(h.Addresses, l.Prefix.Addr()), true, dir
	}
	for r, recordErr := range store.Records() {
		if recordErr != nil {
			err = errors.Join(err, inDir(dir, network, recordErr))
			continue
		}
		if r.Boot != "" {
			n.knowNetwork(network)
		}
		h := of(r.Owner)
		h.record, h.Link, h.Exists = r, r.Link, n.links.find(network, r)
	}
	return errors.Join(err, store.Close())
}

// addLinks adds the owners that host ends name. Networks without leases are known only from them.
func (n *node) addLinks() {
	for o, l := range n.links.owned {
		n.knowNetwork(o.Network)
		h := n.of(o)
		h.link, h.Link, h.Exists = l, l.Name, exists
		h.Bridge = n.links.names[l.Master]
		if !h.leased {
			for _, p := range n.links.addrs(l) {
				h.Addresses = append(h.Addresses, p.Addr())
			}
		}
	}
}

// readRules adds each owner's part of the ruleset.
func (n *node) readRules() error {
	conn, err := nft.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	for a, err := range conn.Senders("") {
		if err != nil {
			return ifSupported(err)
		}
		n.knowNetwork(a.Owner.Network)
		h := n.of(a.Owner)
		h.element, h.ours, h.Masquerade, h.SpoofCheck = true, true, a.Masquerade, a.Guard != nil
	}
	for p, err := range conn.Published("") {
		if err != nil {
			return ifSupported(err)
		}
		h, m := n.of(p.Owner), p.Mapping
		h.element, h.ours = true, h.ours || p.Note == rules.NoteVeth
		h.Ports = append(h.Ports, port{m.Protocol.String(), m.HostIP, m.HostPort, p.Target.Addr(), p.Target.Port(),
			m.HostText() + " -> " + p.Target.String(), m.Protocol})
	}
	for o, err := range conn.Allowed("") {
		if err != nil {
			return ifSupported(err)
		}
		h := n.of(o.Owner)
		h.element, h.Firewall = true, append(h.Firewall, o.Addr)
		if !o.Delegated {
			h.opened = append(h.opened, o.Addr)
		}
	}
	return nil
}

// ifSupported forgives an error of a kernel without nftables, which has nothing in it.
func ifSupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
