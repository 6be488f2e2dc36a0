// SPDX-License-Identifier: Apache-2.0

// Package device attaches a container by one link of its own. It's the engine of the plugins
// macvlan, ipvlan and vlan, whose links are on a link of the host, the master, and of dummy and tap,
// whose links are on none.
//
// The link is born in the container's namespace. Its index follows from its owner, so that Del finds
// what a process that died midway left. Nothing of an attachment is on the host but its lease.
package device

import (
	"context"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/addresses"
	"github.com/swiftcni/swiftcni/internal/endpoint"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// A kind is a plugin, and the kind of link that it makes.
type kind uint8

const (
	macvlan kind = iota
	ipvlan
	vlan
	dummy
	tap
)

func (k kind) String() string { return [...]string{"macvlan", "ipvlan", "vlan", "dummy", "tap"}[k] }

// driver is the kernel's name of the kind of link.
func (k kind) driver() string {
	if k == tap {
		return "tun"
	}
	return k.String()
}

// alone reports whether the link is on no other.
func (k kind) alone() bool { return k == dummy || k == tap }

// Wrong finds what is wrong with the configuration.
func (k *Keys) Wrong(spec.Attachment) *spec.Error {
	if err := k.problem(k.conf.Prev != nil); err != nil {
		return fault.Of(err)
	}
	return nil
}

// problem is what is wrong with the configuration, or nil. chained says that another plugin's
// result is there, whose addresses an ipvlan can have.
func (k *Keys) problem(chained bool) error {
	switch {
	case k.err != nil:
		return k.err
	case k.kind == dummy && !k.conf.HasAddresses():
		return fault.Expected("ipam.type", "dummy interface requires an IPAM configuration", "an IPAM plugin")
	case k.kind == ipvlan && !k.conf.HasAddresses() && !chained:
		return fault.Expected("ipam.type", "no plugin name provided", "an IPAM plugin, which ipvlan needs")
	case k.kind == vlan && k.master == "":
		return fault.Key("master", `"master" field is required. It specifies the host interface name to create the VLAN for`)
	case k.conf.IPAM.Plugin != netconf.HostLocal:
		return nil
	case k.conf.IPAM.SetsErr != nil:
		return k.conf.IPAM.SetsErr
	}
	for _, set := range k.conf.IPAM.Sets {
		if err := endpoint.CheckMTU(k.mtu, set[0].Subnet.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// checkAdd finds whatever is wrong with the input, before anything is touched.
func (k *Keys) checkAdd(c *verbs.Call, a spec.Attachment) error {
	if err := netconf.AttachmentError(a); err != nil {
		return err
	}
	if a.NetNS == "" {
		return fault.Missing("CNI_NETNS")
	}
	if k.kind == ipvlan && c.PrevErr != nil {
		return c.PrevErr
	}
	if err := k.problem(c.Prev != nil); err != nil {
		return err
	}
	if k.conf.Version().Form() == specversion.Legacy && !k.conf.HasAddresses() && k.kind != ipvlan {
		_, err := (&spec.Result{CNIVersion: k.conf.CNIVersion}).MarshalJSON() // which has no form
		return err
	}
	return nil
}

// inherits reports whether the link has its master's MAC.
func (k *Keys) inherits() bool {
	return k.kind == ipvlan || k.kind == vlan || k.kind == macvlan && rtnl.MacvlanMode(k.mode) == rtnl.MacvlanPassthru
}

// findMaster finds the link that the attachment's is on: the named one, that of the plugin before,
// or that of the first default route.
func (k *Keys) findMaster(conn *rtnl.Conn, prev *spec.Result) (rtnl.LinkState, error) {
	name := k.master
	switch {
	case name != "":
	case k.kind == ipvlan && prev != nil:
		if len(prev.Interfaces) != 1 || prev.Interfaces[0].Name == "" {
			return rtnl.LinkState{}, fault.Key("prevResult", "chained master failure. PrevResult lacks a single named interface")
		}
		name = prev.Interfaces[0].Name
	default:
		return defaultLink(conn)
	}
	l, err := conn.Link(name)
	if err != nil {
		return l, noMaster(name, err)
	}
	return l, nil
}

func defaultLink(conn *rtnl.Conn) (l rtnl.LinkState, _ error) {
	index, err := conn.DefaultLink()
	if err == rtnl.ErrNoDefaultRoute {
		return l, fault.Expected("master", "no default route interface found", "the name of a link, or a default route")
	}
	if err == nil {
		l, err = conn.LinkByIndex(index)
	}
	return l, fault.Wrap("look for the default route's link", err)
}

// GC removes the links of whoever isn't valid, and then ends their leases.
func (k *Keys) GC(ctx context.Context, c *verbs.Call, valid []spec.Attachment) error {
	if err := k.problem(true); err != nil {
		return err
	}
	err := k.endLinks(ctx, func(a spec.Attachment) bool {
		return !slices.ContainsFunc(valid, func(v spec.Attachment) bool { return names.Lessee(v) == names.Lessee(a) })
	})
	if err != nil {
		return err
	}
	if from := addresses.Of(k.conf); from != nil {
		return from.GC(ctx, c, valid)
	}
	return nil
}

// endLinks removes the network's links of those who are gone. It finds them by their owners' names,
// in the namespaces that Add has numbered.
func (k *Keys) endLinks(ctx context.Context, gone func(spec.Attachment) bool) error {
	call := process.Of(ctx)
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	err = conn.RemoveEverywhere(rtnl.LinkFilter{Kind: k.kind.driver()}, func(l rtnl.Link) bool {
		network, a, ok := ownerOf(l.Alias)
		return ok && network == k.conf.Name && k.isOurs(a, l.Index) && gone(a)
	})
	if fault.OnlyAbsent(err) {
		return nil
	}
	return fault.Wrap("delete links", err)
}

// ownerOf reads a link's alias. ok is false if it isn't one of Add's.
func ownerOf(alias string) (network string, a spec.Attachment, ok bool) {
	parts := strings.Split(alias, "/")
	if len(parts) != 3 {
		return "", a, false
	}
	return parts[0], spec.Attachment{ContainerID: parts[1], IfName: parts[2]}, true
}

// alias names an attachment on its link, or is empty where there's no room.
func (k *Keys) alias(a spec.Attachment) string {
	return names.Alias(names.RulesOwner(k.conf.Name, names.Lessee(a)))
}

// Reclaim ends the leases of the provably dead.
func (k *Keys) Reclaim(ctx context.Context, c *verbs.Call) error {
	if err := k.problem(true); err != nil {
		return err
	}
	call := process.Of(ctx)
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	return addresses.Reclaim(ctx, c, k.conf, conn)
}

// Status says whether the next Add can be expected to succeed.
func (k *Keys) Status(ctx context.Context, c *verbs.Call) error {
	if err := k.problem(true); err != nil {
		return err
	}
	if from := addresses.Of(k.conf); from != nil {
		if err := from.Status(ctx, c); err != nil {
			return err
		}
	}
	if k.kind.alone() || k.within || k.kind == ipvlan && k.master == "" {
		return nil // the master is the container's, or the plugin's before it
	}
	call := process.Of(ctx)
	conn, err := call.Route()
	if err != nil {
		return fault.Unavailable("rtnetlink can't be used", err)
	}
	defer call.CloseRoute(conn)
	master, err := k.findMaster(conn, nil)
	if err != nil {
		return fault.Unavailable("there is no master", err)
	}
	return k.checkMTU(master)
}

// namesOf are an attachment's.
func (k *Keys) namesOf(a spec.Attachment, attempt int) names.Names {
	return names.Of(k.conf.Name, a.ContainerID, a.IfName, attempt)
}
