// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/handover"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// examination is one look at the host.
type examination struct {
	node  *node
	confs []*netconf
	rules *nft.Conn
	found []finding
	cache string // of libcni

	filters   *nft.Filters
	host      host
	listening *[]listener
}

// examine looks for all faults. dirs are the directories of leases beside those that configurations
// name. They needn't exist unless dirsNamed.
func examine(ctx context.Context, confs []*netconf, dirs []string, dirsNamed bool, cache string) ([]finding, error) {
	dirs = dataDirs(dirs, confs)
	x := &examination{confs: confs, cache: cache}
	var err error
	x.node, err = readNode(ctx, existing(dirs, dirsNamed))
	conn, dialErr := nft.Dial()
	if dialErr != nil {
		return nil, join(err, dialErr)
	}
	defer conn.Close()
	x.rules = conn
	x.node.know(confs)
	err = join(err, x.surroundings(), x.resident(ctx, handover.Socket))
	for _, h := range x.node.list {
		x.attachment(h)
	}
	err = join(err, x.stores(ctx, dirs), x.policies())
	for _, c := range confs {
		err = join(err, x.network(c))
	}
	for _, h := range x.node.list {
		x.called(ctx, h)
	}
	x.apart(ctx)
	slices.SortStableFunc(x.found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Who, b.Who), cmp.Compare(a.Kind, b.Kind))
	})
	return x.found, err
}

// existing leaves out directories that don't exist, unless insist.
func existing(dirs []string, insist bool) []string {
	if insist {
		return dirs
	}
	return slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool {
		_, err := os.Stat(dir)
		return errors.Is(err, fs.ErrNotExist)
	})
}

func join(errs ...error) error { return errors.Join(errs...) }

// add adds a finding once: a fault of a network shows at each of its containers.
func (x *examination) add(kind, network, who, problem, remedy string) {
	if f := (finding{kind, network, who, problem, remedy}); !slices.Contains(x.found, f) {
		x.found = append(x.found, f)
	}
}

// surroundings looks at the rules of all programs, and at their effect on each attachment.
func (x *examination) surroundings() (err error) {
	if x.filters, err = x.rules.Filters(); err != nil {
		return ifSupported(err)
	}
	if x.host, err = x.readHost(); err != nil {
		return err
	}
	for _, h := range x.node.list {
		x.ways(h)
		err = join(err, x.route(h))
		for _, p := range h.Ports {
			err = join(err, x.rivals(h, p))
		}
	}
	return join(err, x.shared())
}

func (h *held) who() string { return cell(h.ContainerID) + "/" + cell(h.IfName) }

// attachment compares everything that is known of one attachment.
func (x *examination) attachment(h *held) {
	switch {
	case h.leased && h.Exists == missing:
		x.add("lease-without-link", h.Network, h.who(), fmt.Sprintf("it holds %s, and its link %s is gone", joinAddrs(h.Addresses), h.record.Link),
			"swiftctl gc --network "+h.Network+dirOption(h.dir))
	case !h.leased && h.link.Index != 0 && len(h.Addresses) > 0 && x.leases(h.Network):
		x.add("link-without-lease", h.Network, h.who(), fmt.Sprintf("%s of %s has no lease, so another container may get it", joinAddrs(h.Addresses), h.Link),
			"the next ADD to "+h.Network+" takes it back; until then, attach no other container by host-local itself")
	case x.node.orphaned(h):
		x.add("element-without-link", h.Network, h.who(), "the ruleset has "+h.elements()+" for it, and it has neither link nor lease", "swiftctl sync")
	}
}

// leases reports whether a network keeps leases in one of the directories.
func (x *examination) leases(network string) bool {
	return x.node.leasing[nft.Owner{Network: network}.Short().Network]
}

func dirOption(dir string) string {
	if dir == ipam.DefaultDir || dir == "" {
		return ""
	}
	return " --data-dir " + dir
}

// elements describes the attachment's part of the ruleset.
func (h *held) elements() string {
	var list []string
	if h.Masquerade != nil {
		list = append(list, "masquerade of "+joinPrefixes(h.Masquerade))
	}
	if h.SpoofCheck {
		list = append(list, "a check of its MAC")
	}
	if h.Ports != nil {
		list = append(list, "ports "+strings.Join(h.hostPorts(), ","))
	}
	if h.Firewall != nil {
		list = append(list, "a way through the firewall for "+joinAddrs(h.Firewall))
	}
	return strings.Join(list, ", ")
}

// policies looks for the policies of bridges that the CNI project's firewall plugin left. They drop
// packets that today's configuration may allow.
func (x *examination) policies() error {
	for l, err := range x.rules.Policies() {
		if err != nil {
			return ifSupported(err)
		}
		if !x.node.needs(l) {
			x.add("old-policy", "", "", l.Where+" keep other bridges from "+cell(l.Bridge)+", at which the CNI project's plugins have no container any more", removal(l))
		}
	}
	return nil
}

// stores checks the leases' own invariants.
func (x *examination) stores(ctx context.Context, dirs []string) (err error) {
	for _, dir := range existing(dirs, false) {
		names, dirErr := networksIn(dir)
		err = join(err, dirErr)
		for _, name := range names {
			store, openErr := ipam.OpenReadOnly(ctx, dir, name)
			if openErr != nil {
				err = join(err, openErr)
				continue
			}
			trusted, trustErr := store.Trusted()
			if trustErr == nil && trusted {
				if damage := store.Check(); damage != nil {
					x.add("damaged-leases", name, "", oneLine(inDir(dir, name, damage)), "remove the named files; the next ADD repairs the rest")
				}
			}
			err = join(err, trustErr, store.Close())
		}
	}
	return err
}

// network compares a configuration with the host's state, if anybody is attached.
func (x *examination) network(c *netconf) error {
	name := c.network.Name()
	var live []*held
	for _, h := range x.node.list {
		if h.Network == name && h.link.Index != 0 {
			live = append(live, h)
		}
	}
	if len(live) == 0 {
		return nil
	}
	x.bridge(c, live)
	if err := x.forwarding(c, live); err != nil {
		return err
	}
	for _, h := range live {
		if err := x.missing(c, h); err != nil {
			return err
		}
	}
	return nil
}

func (x *examination) bridge(c *netconf, live []*held) {
	name, bridge := c.network.Name(), c.main.Bridge
	if bridge == "" {
		return
	}
	for i, n := range x.node.links.names {
		if n == bridge && x.node.links.bridges[i].State != rtnl.Up {
			x.add("bridge-down", name, "", "bridge "+bridge+" is down", "ip link set "+bridge+" up")
		}
	}
	has := x.node.links.bridgeAddrs[bridge]
	for _, gw := range c.main.Gateways {
		used := slices.ContainsFunc(live, func(h *held) bool {
			return h.Bridge == bridge && slices.ContainsFunc(h.Addresses, gw.Masked().Contains)
		})
		if used && !slices.Contains(has, gw) {
			x.add("missing-gateway", name, "", "bridge "+bridge+" lacks its address "+gw.String(), "ip address add "+gw.String()+" dev "+bridge+", or the next ADD")
		}
	}
}

// forwarding looks at the settings that every gateway needs.
func (x *examination) forwarding(c *netconf, live []*held) error {
	if !c.main.Gateway {
		return nil
	}
	for _, f := range []struct {
		is4    bool
		sysctl string
	}{{true, "net/ipv4/ip_forward"}, {false, "net/ipv6/conf/all/forwarding"}} {
		used := slices.ContainsFunc(live, func(h *held) bool {
			return slices.ContainsFunc(h.Addresses, func(a netip.Addr) bool { return a.Is4() == f.is4 })
		})
		if !used {
			continue
		}
		text, err := os.ReadFile("/proc/sys/" + f.sysctl)
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(text)) != "1" {
			key := strings.ReplaceAll(f.sysctl, "/", ".")
			x.add("no-forwarding", c.network.Name(), "", key+" is off, so containers reach nothing beyond their bridge", "sysctl -w "+key+"=1")
		}
	}
	return nil
}

// missing looks for missing rules of a live attachment.
func (x *examination) missing(c *netconf, h *held) error {
	want, ok := c.attachment(x.node, h)
	if !ok {
		return nil
	}
	err := x.rules.CheckSender(want)
	var lacks *nft.MissingError
	if !errors.As(err, &lacks) {
		return ifSupported(err)
	}
	x.add("missing-rules", h.Network, h.who(), "the ruleset lacks "+lacks.What, "swiftctl sync "+c.path)
	return nil
}
