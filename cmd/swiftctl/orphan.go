// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// orphaned reports whether only the rules of an attachment are left, provably. Masquerade and spoof
// checks are made only for our host ends, and so are ports that say so. Without such a host end
// they belong to nobody, whoever has their address by now. Other ports and ways through the
// firewall may follow any plugin, whose links look like anything. Those of networks that nobody
// knows as bridge's or ptp's are left alone. So are rules that lead to an address that their
// container may have.
func (n *node) orphaned(h *held) bool {
	if !h.element || h.leased || h.link.Index != 0 {
		return false
	}
	network := h.owner().Short().Network
	if n.unread[network] || !h.isCut() && !h.gone || h.isCut() && !n.leasing[network] {
		return false
	}
	return h.ours && !h.isCut() || (h.ours || n.ours[network]) && !n.links.mayHold(h)
}

// isCut reports whether the owner's name was cut, so that nothing can be derived from it. The
// leases have the whole name.
func (h *held) isCut() bool { return strings.Contains(h.owner().String(), "~") }

// named reports whether a host end names an owner, whose name may be cut.
func (l *links) named(o nft.Owner) bool {
	for owner := range l.owned {
		if owner.Short() == o {
			return true
		}
	}
	return false
}

// mayHold reports whether an address of an attachment's rules is at the end of a veth that may be
// this owner's.
func (l *links) mayHold(h *held) bool {
	addrs := h.targets()
	for i, prefixes := range l.peers {
		has := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return slices.Contains(addrs, p.Addr()) })
		if o, known := names.OwnerOf(l.veths[i].Link); has && (!known || o.Short() == h.owner().Short()) {
			return true
		}
	}
	return false
}

// targets are the addresses that an attachment's rules are about.
func (h *held) targets() (list []netip.Addr) {
	for _, p := range h.Masquerade {
		list = append(list, p.Addr())
	}
	for _, p := range h.Ports {
		list = append(list, p.ContainerIP)
	}
	return append(list, h.Firewall...)
}

// sweeping removes rules that belong to nobody.
type sweeping struct {
	dry  bool
	dirs []string // of leases
	node *node
	done func(*held) // hears of each owner whose rules went, or would go
}

// run goes by network, as leases are locked by network.
func (s *sweeping) run(ctx context.Context, chosen func(*held) bool) (err error) {
	var gone []*held
	for _, h := range s.node.list {
		if s.node.orphaned(h) && chosen(h) {
			gone = append(gone, h)
		}
	}
	for i := 0; i < len(gone); {
		of := gone[i:]
		if end := slices.IndexFunc(of, func(h *held) bool { return h.Network != of[0].Network }); end > 0 {
			of = of[:end]
		}
		i += len(of)
		err = join(err, s.network(ctx, of))
	}
	if !s.dry {
		err = join(err, rules.Tidy())
	}
	return err
}

// network removes the rules of dead containers of one network. An ADD that began meanwhile has a
// lease. Or it has a link, as it makes the link before it unlocks the leases.
func (s *sweeping) network(ctx context.Context, list []*held) (err error) {
	short := list[0].owner().Short().Network
	for _, dir := range s.dirs {
		networks, dirErr := networksIn(dir)
		if dirErr != nil && !errors.Is(dirErr, fs.ErrNotExist) {
			return join(err, dirErr)
		}
		for _, name := range networks {
			if (nft.Owner{Network: name}).Short().Network != short {
				continue
			}
			store, openErr := ipam.OpenExisting(ctx, dir, name)
			if errors.Is(openErr, fs.ErrNotExist) {
				continue
			}
			if openErr != nil {
				return join(err, openErr)
			}
			defer func() { err = join(err, store.Close()) }()
			var lookErr error
			list, lookErr = leaseless(store, name, list)
			err = join(err, lookErr)
		}
	}
	now, linksErr := readLinks()
	if linksErr != nil {
		return join(err, linksErr)
	}
	defer now.close()
	for _, h := range list {
		gone := now.goneOf(h.owner())
		if h.isCut() {
			gone = !now.named(h.owner())
		}
		if gone && (h.ours && !h.isCut() || !now.mayHold(h)) {
			err = join(err, s.remove(h, now))
		}
	}
	return err
}

// leaseless leaves out the owners that a network's store has leases of, or may have.
func leaseless(store *ipam.Store, network string, list []*held) (without []*held, err error) {
	leasing := map[nft.Owner]bool{}
	if slices.ContainsFunc(list, (*held).isCut) {
		for l, leaseErr := range store.Leases() {
			if leaseErr != nil {
				return nil, leaseErr
			}
			leasing[names.RulesOwner(network, l.Owner).Short()] = true
		}
	}
	for _, h := range list {
		_, leased, lookErr := store.Lookup(ipam.Owner{ContainerID: h.ContainerID, IfName: h.IfName})
		if err = join(err, lookErr); lookErr == nil && !leased && !leasing[h.owner().Short()] {
			without = append(without, h)
		}
	}
	return without, err
}

// remove removes the rules of an owner, unless it comes back meanwhile. One whose name was cut can't,
// as the leases of its network are locked.
func (s *sweeping) remove(h *held, now *links) error {
	if !s.dry {
		back := false
		lives := func(o nft.Owner) bool {
			back = back || !h.isCut() && now.proof.IsBack(o)
			return back
		}
		if err := rules.End(h.owner(), lives); err != nil {
			return fmt.Errorf("%s/%s: %w", h.Network, h.who(), err)
		}
		if back {
			return nil
		}
	}
	s.done(h)
	return nil
}
