// SPDX-License-Identifier: Apache-2.0

// Package sbr is the plugin that routes by source.
package sbr

import (
	"context"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// The plugin sbr routes by source, after another plugin has attached the container. Packets from an
// address of the interface go by the interface's own routes, in a table of the address's own, and
// no longer by the main table.

// sourceRouting is one attachment in its container. It keeps the container locked against other
// calls of the plugin.
type sourceRouting struct {
	keys       *Keys
	attachment spec.Attachment
	ips        []spec.IP // of the interface, as far as they are known
	ns         *rtnl.NetNS
	conn       *rtnl.Conn
	link       int // index of the interface; 0 if it's gone
}

// noResult is the error if the plugin follows none.
const noResult = "This plugin must be called as chained plugin"

// Add routes by source.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if err := c.CheckFollows(k.err, noResult); err != nil {
		return nil, err
	}
	s, err := k.sourceRouting(ctx, c, a)
	if err != nil {
		return nil, err
	}
	defer s.close()
	switch {
	case len(c.Prev.IPs) == 0: // if all belong to other interfaces, there is nothing to do
		return nil, fault.Key("prevResult", "No IP addresses supplied on interface: "+a.IfName)
	case s.link == 0 && k.table == 0: // a configured table gets its routes from elsewhere
		return nil, fault.Wrong("Cannot find network interface " + a.IfName)
	}
	if err := s.add(); err != nil {
		return nil, err
	}
	return c.PassOn(), nil
}

// sourceRouting opens and locks the container's namespace, and finds the interface.
func (k *Keys) sourceRouting(ctx context.Context, c *verbs.Call, a spec.Attachment) (*sourceRouting, error) {
	host, err := process.Of(ctx).NetNS()
	if err != nil {
		return nil, fault.Wrap("identify the host's network namespace", err)
	}
	s := &sourceRouting{keys: k, attachment: a, ips: interfaceIPs(c.Prev, a.IfName)}
	if s.ns, err = netns.Enter(a, host); err != nil {
		return nil, err
	}
	if err = netns.Lock(ctx, s.ns); err == nil {
		if s.conn, err = rtnl.DialWith(ctx, s.ns, nil); err == nil {
			s.link, err = s.conn.Index(a.IfName)
			if fault.Absent(err) {
				err = nil
			}
		}
	}
	if err != nil {
		s.close()
		return nil, fault.Wrap("look into the container", err)
	}
	return s, nil
}

func (s *sourceRouting) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.ns.Close()
}

// interfaceIPs are the addresses of prevResult that belong to an interface. One that names no
// interface belongs to all.
func interfaceIPs(prev *spec.Result, ifName string) (list []spec.IP) {
	if prev == nil {
		return nil
	}
	for _, ip := range prev.IPs {
		if i := ip.Interface; i >= 0 && i < len(prev.Interfaces) && prev.Interfaces[i].Name != ifName {
			continue
		}
		list = append(list, ip)
	}
	return list
}

// add makes all changes, or takes them back.
func (s *sourceRouting) add() error {
	rules, err := s.rules()
	if err != nil {
		return err
	}
	stale, err := s.earlier(rules)
	if err != nil {
		return err
	}
	routes, err := s.routes(rtnl.TableMain)
	if err != nil {
		return err
	}
	tables, err := s.chooseTables(rules)
	if err != nil {
		return err
	}
	p := newPlan(s.keys, s.ips, s.link, routes, tables)
	var old, adds, removes rtnl.Batch
	for _, r := range stale {
		old.Delete(r)
	}
	if err := s.conn.Do(&old); err != nil && !fault.OnlyAbsent(err) {
		return fault.Wrap("delete rules of an earlier attachment", err)
	}
	p.adds(&adds)
	if err := s.conn.Do(&adds); err != nil {
		var undo rtnl.Batch
		p.undo(&undo)
		_ = s.conn.Do(&undo)
		return fault.Wrap("route by source", err)
	}
	// This comes last, when everything that could be refused exists.
	p.removes(&removes)
	if err := s.conn.Do(&removes); err != nil && !fault.OnlyAbsent(err) {
		var undo rtnl.Batch
		p.undo(&undo)
		p.restore(&undo)
		_ = s.conn.Do(&undo)
		return fault.Wrap("remove routes from the main table", err)
	}
	return nil
}

func (s *sourceRouting) rules() (list []rtnl.RuleState, _ error) {
	for r, err := range s.conn.Rules(0) {
		if err != nil {
			return nil, fault.Wrap("Failed to list all rules", err)
		}
		list = append(list, r)
	}
	return list, nil
}

// routes are the interface's in a table.
func (s *sourceRouting) routes(table uint32) (list []rtnl.Route, _ error) {
	for r, err := range s.conn.Routes(rtnl.RouteFilter{Link: s.link, Table: table}) {
		if err != nil {
			return nil, fault.Wrap("Unable to list routes", err)
		}
		if r.Link == s.link {
			list = append(list, r)
		}
	}
	return list, nil
}

// earlier looks for rules of an earlier ADD with our addresses. A rule that leads to a table
// without routes is the rest of an interface that is gone. Any other rule is an error: it exists
// already.
func (s *sourceRouting) earlier(rules []rtnl.RuleState) (stale []rtnl.Rule, _ error) {
	for _, r := range rules {
		if r.Protocol != ruleProtocol || !s.isOwn(r.Src, nil) {
			continue
		}
		used, err := s.isUsed(r.Table)
		if err != nil {
			return nil, err
		}
		if used && s.keys.table == 0 {
			return nil, &spec.Error{Code: spec.CodeAttached, Key: "CNI_IFNAME", Msg: "packets from " + r.Src.Addr().String() + " are routed by source already; DEL ends that"}
		}
		stale = append(stale, r.Rule)
	}
	return stale, nil
}

// isOwn reports whether a rule's source is an address of the attachment, or one of more.
func (s *sourceRouting) isOwn(src netip.Prefix, more []netip.Addr) bool {
	return src.IsSingleIP() && (slices.Contains(more, src.Addr()) ||
		slices.ContainsFunc(s.ips, func(ip spec.IP) bool { return ip.Address.Addr() == src.Addr() }))
}

func (s *sourceRouting) isUsed(table uint32) (bool, error) {
	for _, err := range s.conn.Routes(rtnl.RouteFilter{Table: table}) {
		return err == nil, fault.Wrap("Failed to list all routes", err)
	}
	return false, nil
}

// chooseTables picks a table for each address: one that no rule names and that has no routes, or
// the configured one.
func (s *sourceRouting) chooseTables(rules []rtnl.RuleState) (list []uint32, _ error) {
	table := uint32(firstTable)
	for range s.ips {
		if s.keys.table != 0 {
			list = append(list, s.keys.table)
			continue
		}
		for ; ; table++ {
			used := slices.ContainsFunc(rules, func(r rtnl.RuleState) bool { return r.Table == table })
			if !used {
				var err error
				if used, err = s.isUsed(table); err != nil {
					return nil, err
				}
			}
			if !used {
				break
			}
		}
		list = append(list, table)
		table++
	}
	return list, nil
}

// Del removes the rules of the interface's addresses, and the interface's routes in their tables.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if a.NetNS == "" {
		return nil
	}
	s, err := k.sourceRouting(ctx, c, a)
	if netns.Gone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.close()
	rules, err := s.rules()
	if err != nil {
		return err
	}
	var addrs []netip.Addr
	if s.link != 0 {
		for addr, err := range s.conn.Addrs(s.link, 0) {
			if err != nil {
				return fault.Wrap("Failed to list all addrs", err)
			}
			addrs = append(addrs, addr.Prefix.Addr())
		}
	}
	var b rtnl.Batch
	for _, r := range rules {
		if err := s.end(&b, r, addrs); err != nil {
			return err
		}
	}
	if b.Len() == 0 {
		return nil
	}
	if err := s.conn.Do(&b); err != nil && !fault.OnlyAbsent(err) {
		return fault.Wrap("Failed to delete rule", err)
	}
	return nil
}

// end removes a rule if it belongs to the attachment. Ours are marked. The reference's look like
// any others, except for their table. Ours that lead nowhere are the rest of an interface that is
// gone, whose addresses nobody knows any more.
func (s *sourceRouting) end(b *rtnl.Batch, r rtnl.RuleState, addrs []netip.Addr) error {
	ours := r.Protocol == ruleProtocol
	configured := s.keys.table != 0 && r.Table == s.keys.table
	chosen := s.keys.table == 0 && r.Table >= firstTable && (r.Table < 253 || r.Table > 255)
	if r.OtherSelectors || !ours && (r.Protocol != 0 || !chosen && !configured) {
		return nil
	}
	used, err := s.isUsed(r.Table)
	if err != nil {
		return err
	}
	if !s.isOwn(r.Src, addrs) && (!ours || used || s.keys.table != 0) {
		return nil
	}
	b.Delete(rtnl.Rule{Src: r.Src, Table: r.Table, Priority: r.Priority, Protocol: r.Protocol})
	if !ours || !chosen || s.link == 0 { // a link that is gone took its routes along
		return nil
	}
	routes, err := s.routes(r.Table)
	for _, route := range routes {
		b.Delete(route)
	}
	return err
}

// Check finds a rule for each address, and in a table that was chosen a route by the interface.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := c.CheckFollows(k.err, noResult); err != nil {
		return err
	}
	s, err := k.sourceRouting(ctx, c, a)
	if err != nil {
		return err
	}
	defer s.close()
	if s.link == 0 && k.table == 0 {
		return fault.Wrong("Cannot find network interface " + a.IfName)
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	for _, ip := range s.ips {
		if err := s.checkAddress(ip.Address.Addr(), rules); err != nil {
			return err
		}
	}
	return nil
}

func (s *sourceRouting) checkAddress(addr netip.Addr, rules []rtnl.RuleState) error {
	for _, r := range rules {
		if r.Src != result.Single(addr) || r.OtherSelectors || s.keys.table == 0 && r.Table < firstTable || s.keys.table != 0 && r.Table != s.keys.table {
			continue
		}
		if s.keys.table != 0 {
			return nil
		}
		routes, err := s.routes(r.Table)
		if err != nil || len(routes) > 0 {
			return err
		}
	}
	return fault.Wrong(addr.String() + " isn't routed by source")
}

// GC has nothing to do: everything goes with the container.
func (k *Keys) GC(context.Context, *verbs.Call, []spec.Attachment) error { return nil }

// Reclaim has nothing to do.
func (k *Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status returns the first key that is wrong.
func (k *Keys) Status(context.Context, *verbs.Call) error {
	if k.err != nil {
		return k.err
	}
	return nil
}
