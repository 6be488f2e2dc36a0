// SPDX-License-Identifier: Apache-2.0

package hostdevice

import (
	"cmp"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/order"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A network is what the host has on a link: key "useInterfaceNetwork" takes it into the container.
// It can't be read any more once the link is moved.
type network struct {
	addrs  []netip.Prefix
	routes []rtnl.Route
	rules  []rtnl.Rule
}

// capture reads what the host has on the link, if the container is to get it.
func (at *attaching) capture() error {
	if !at.keys.takesL3 {
		return nil
	}
	n, host := &at.network, at.passage.host
	for a, err := range host.Addrs(at.lent.Index, 0) {
		if err != nil {
			return fault.Wrap("failed to list addresses for host device "+at.lent.Name, err)
		}
		// The container gets its own by router advertisements. IPv4's of dhcp stay for good.
		if a.Scope == rtnl.ScopeGlobal && (a.Prefix.Addr().Is4() || a.Permanent) {
			n.addrs = append(n.addrs, a.Prefix)
		}
	}
	if err := at.captureRoutes(); err != nil {
		return err
	}
	for r, err := range host.Rules(0) {
		if err != nil {
			return fault.Wrap("failed to list rules", err)
		}
		if !n.uses(r.Rule) {
			continue
		}
		if r.OtherSelectors {
			at.call.Warn("the rule from " + r.Src.String() + " to table " + strconv.Itoa(int(r.Table)) + " isn't copied, as it has further conditions")
			continue
		}
		n.rules = append(n.rules, r.Rule)
	}
	return nil
}

// captureRoutes leaves out those that the kernel makes by itself.
func (at *attaching) captureRoutes() error {
	n := &at.network
	for r, err := range at.passage.host.Routes(rtnl.RouteFilter{Link: at.lent.Index, AnyTable: true}) {
		if err != nil {
			return fault.Wrap("failed to list routes for host device "+at.lent.Name, err)
		}
		if r.Link != at.lent.Index || r.Table == unix.RT_TABLE_LOCAL || r.Protocol == unix.RTPROT_KERNEL || r.Protocol == unix.RTPROT_RA || r.Dst.Addr().IsLinkLocalUnicast() && r.Dst.Addr().Is6() {
			continue
		}
		n.routes = append(n.routes, r)
	}
	// Those to what is on the link come first, as the others' gateways are there.
	order.By(n.routes, func(a, b rtnl.Route) int { return cmp.Compare(b.Scope, a.Scope) })
	return nil
}

// table is a route's, by its number.
func table(r rtnl.Route) uint32 { return cmp.Or(r.Table, rtnl.TableMain) }

// uses reports whether a rule leads from one of the addresses to one of the routes.
func (n *network) uses(r rtnl.Rule) bool {
	return r.Src.Bits() > 0 && r.Table != 0 && r.Table != unix.RT_TABLE_LOCAL &&
		slices.ContainsFunc(n.addrs, func(a netip.Prefix) bool { return r.Src.Contains(a.Addr()) }) &&
		slices.ContainsFunc(n.routes, func(other rtnl.Route) bool { return table(other) == r.Table })
}

// put gives a link all of it, and brings it up.
func (n *network) put(b *rtnl.Batch, link int) {
	for _, a := range n.addrs {
		b.Create(rtnl.Addr{Link: link, Prefix: a, NoDAD: a.Addr().Is6()})
	}
	b.Set(rtnl.Link{Index: link, State: rtnl.Up})
	for _, r := range n.routes {
		r.Link = link
		b.Create(r)
	}
}

func (n *network) empty() bool { return n.addrs == nil && n.routes == nil }

// copyNetwork gives the container's link what it had on the host. What is there already is no
// error.
func (at *attaching) copyNetwork() error {
	n := &at.network
	if n.empty() || at.copied {
		return nil
	}
	at.copied = true
	var b rtnl.Batch
	n.put(&b, at.link.Index)
	first := b.Len() // of the rules, which don't end with the link
	for _, r := range n.rules {
		b.Create(r)
	}
	err := at.inside.Conn.Do(&b)
	var refused rtnl.Refused
	if err != nil && !errors.As(err, &refused) {
		return fault.Wrap("failed to copy the host device's network", err)
	}
	at.undo.Push("rules", func() error {
		var b rtnl.Batch
		for i, r := range n.rules {
			if !slices.ContainsFunc(refused, func(e *rtnl.Error) bool { return e.Step == first+i }) {
				b.Delete(r)
			}
		}
		return at.passage.inside.Do(&b)
	})
	for _, e := range refused {
		if !errors.Is(e, fs.ErrExist) {
			return fault.Wrap("failed to copy the host device's network", e)
		}
	}
	return nil
}

// giveBack puts all of it on the host's link again, after a failure.
func (n *network) giveBack(host *rtnl.Conn, name string) error {
	if n.empty() {
		return nil
	}
	index, err := host.Index(name)
	if err != nil {
		return err
	}
	var b rtnl.Batch
	n.put(&b, index)
	return host.Do(&b)
}

// tell adds all of it to a result.
func (n *network) tell(res *spec.Result) {
	for _, a := range n.addrs {
		res.IPs = append(res.IPs, spec.IP{Address: a})
	}
	for _, r := range n.routes {
		number := int(table(r))
		route := spec.Route{Dst: r.Dst, Gateway: r.Gateway, Priority: r.Priority, Table: &number}
		if r.Scope != rtnl.ScopeGlobal {
			scope := int(r.Scope)
			route.Scope = &scope
		}
		res.Routes = append(res.Routes, route)
	}
}
