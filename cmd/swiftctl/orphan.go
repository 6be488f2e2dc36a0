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
	name := list[0].Network
	for _, dir := range s.dirs {
		store, openErr := ipam.OpenExisting(ctx, dir, name)
		if errors.Is(openErr, fs.ErrNotExist) {
			continue
		}
		if openErr != nil {
			return openErr
		}
		defer func() { err = join(err, store.Close()) }()
		list = slices.DeleteFunc(list, func(h *held) bool {
			_, leased, lookErr := store.Lookup(ipam.Owner{ContainerID: h.ContainerID, IfName: h.IfName})
			err = join(err, lookErr)
			return leased || lookErr != nil
		})
	}
	now, linksErr := readLinks()
	if linksErr != nil {
		return join(err, linksErr)
	}
	defer now.close()
	for _, h := range list {
		if h.isCut() || now.goneOf(h.owner()) && (h.ours || !now.mayHold(h)) {
			err = join(err, s.remove(h, now))
		}
	}
	return err
}

func (s *sweeping) remove(h *held, now *links) error {
	if !s.dry {
		lives := now.proof.IsBack
		if h.isCut() {
			lives = nil // its network's leases are locked
		}
		if err := rules.End(h.owner(), lives); err != nil {
			return fmt.Errorf("%s/%s: %w", h.Network, h.who(), err)
		}
	}
	s.done(h)
	return nil
}
