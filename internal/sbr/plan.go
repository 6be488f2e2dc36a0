// SPDX-License-Identifier: Apache-2.0

package sbr

import (
	"math"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// firstTable is the beginning of the search for a table, as in the reference.
const firstTable = 100

// ruleProtocol marks our rules, so that DEL knows them. No program is known to use it among the
// numbers that rtnetlink.h leaves to others.
const ruleProtocol = 211

// Keys are the plugin's own. err is the first wrong one.
type Keys struct {
	table       uint32 // 0: one is chosen for each address
	gateways    []netip.Addr
	sourceHints bool
	err         *spec.Error
}

// Read reads the plugin's keys.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{}
	err := r.Object(func(key string) error {
		switch key {
		case "table":
			var table int
			err := r.Bounded(&table, 1, math.MaxUint32&math.MaxInt) // an int of 32 bits holds less
			k.table = uint32(table)
			return err
		case "gateways":
			return k.parseGateways(r)
		case "addsourcehints":
			return r.Bool(&k.sourceHints)
		}
		return nil
	})
	k.err = fault.First(r, err)
	return k
}

// Wrong is the first key that's wrong.
func (k *Keys) Wrong(spec.Attachment) *spec.Error { return k.err }

func (k *Keys) parseGateways(r *jsontext.Reader) error {
	k.gateways = nil
	_, err := r.List(func() error {
		var text string
		if err := r.Str(&text); err != nil || r.First != nil {
			return err
		}
		gw, err := netip.ParseAddr(text)
		gw = gw.Unmap()
		before := slices.IndexFunc(k.gateways, func(other netip.Addr) bool { return other.Is4() == gw.Is4() })
		switch {
		case err != nil || gw.Zone() != "":
			r.Wrong("invalid static gateway IP address: "+text, "")
		case len(k.gateways) == 2:
			fault.Note(r, fault.Key("gateways", "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)"))
		case before >= 0:
			r.Wrong("gateways list contains multiple "+family(gw)+" addresses: "+k.gateways[before].String()+" and "+text, "")
		default:
			k.gateways = append(k.gateways, gw)
		}
		return nil
	})
	return err
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// plan is what an ADD changes, decided without I/O.
type plan struct {
	rules []rtnl.Rule
	made  []rtnl.Route // in tables of their own
	gone  []rtnl.Route // from the main table
	hints []rtnl.Route // in the main table, with their source
}

// newPlan decides which of the interface's routes in the main table go to which address's table.
// These are the routes that have the address's subnet as source or gateway, and those that have
// neither. Routes that belong to no address stay. The link-local subnet of IPv6 stays as well,
// since there is no neighbour discovery without it.
func newPlan(k *Keys, ips []spec.IP, link int, main []rtnl.Route, tables []uint32) *plan {
	p := &plan{}
	moved := make([]bool, len(main))
	for i, ip := range ips {
		p.rules = append(p.rules, rtnl.Rule{Src: result.Single(ip.Address.Addr()), Table: tables[i], Protocol: ruleProtocol})
		if k.table != 0 {
			continue
		}
		gw, configured := k.gatewayOf(ip)
		hasDefault := false
		for j, r := range main {
			if !belongs(r, ip, gw) {
				continue
			}
			moved[j] = moved[j] || !r.Dst.Addr().IsLinkLocalUnicast()
			if r.Dst.Bits() == 0 {
				if configured {
					continue
				}
				hasDefault = true
			}
			p.made = append(p.made, inTable(r, tables[i]))
		}
		if gw.IsValid() && !hasDefault {
			r := rtnl.DefaultRoute(gw)
			r.Link, r.Table = link, tables[i]
			p.made = append(p.made, r)
		}
	}
	for j, r := range main {
		switch {
		case !moved[j]:
		case k.sourceHints && r.Dst.Bits() > 0 && slices.ContainsFunc(ips, func(ip spec.IP) bool { return ip.Address.Masked() == r.Dst }):
			p.hint(r, ips)
		default:
			p.gone = append(p.gone, r)
		}
	}
	return p
}

// hint adds a source to the route of a subnet, if it lacks one.
func (p *plan) hint(r rtnl.Route, ips []spec.IP) {
	if r.Src.IsValid() {
		return
	}
	for _, ip := range ips {
		if ip.Address.Masked() == r.Dst {
			p.gone = append(p.gone, r)
			r.Src, r.Protocol = ip.Address.Addr(), 0
			p.hints = append(p.hints, r)
			return
		}
	}
}

// gatewayOf is the address's gateway: the configuration's for its family, or IPAM's.
func (k *Keys) gatewayOf(ip spec.IP) (gw netip.Addr, configured bool) {
	for _, gw := range k.gateways {
		if gw.Is4() == ip.Address.Addr().Is4() {
			return gw, true
		}
	}
	return result.Specified(ip.Gateway), false
}

func belongs(r rtnl.Route, ip spec.IP, gw netip.Addr) bool {
	switch {
	case r.Dst.Addr().Is4() != ip.Address.Addr().Is4():
		return false
	case r.Src.IsValid() && ip.Address.Contains(r.Src), r.Gateway.IsValid() && (ip.Address.Contains(r.Gateway) || r.Gateway == gw):
		return true
	}
	return !r.Src.IsValid() && !r.Gateway.IsValid()
}

func inTable(r rtnl.Route, table uint32) rtnl.Route {
	r.Table, r.Protocol, r.Expires = table, 0, 0 // nobody would renew it there
	return r
}

// adds fills the tables and then leads to them. Routes on the link come first, since gateways are
// looked for there.
func (p *plan) adds(b *rtnl.Batch) {
	for _, r := range p.made {
		if !r.Gateway.IsValid() {
			b.Append(r)
		}
	}
	for _, r := range p.made {
		if r.Gateway.IsValid() {
			b.Append(r)
		}
	}
	for _, r := range p.rules {
		b.Create(r)
	}
}

// removes empties the main table. Routes by gateways go first.
func (p *plan) removes(b *rtnl.Batch) {
	for _, r := range slices.Backward(p.gone) {
		b.Delete(r)
	}
	for _, r := range p.hints {
		b.Append(r)
	}
}

// undo takes adds back, whichever of the changes were made.
func (p *plan) undo(b *rtnl.Batch) {
	for _, r := range p.rules {
		b.Delete(r)
	}
	for _, r := range slices.Backward(p.made) {
		b.Delete(r)
	}
}

// restore takes removes back.
func (p *plan) restore(b *rtnl.Batch) {
	for _, r := range p.hints {
		b.Delete(r)
	}
	for _, r := range p.gone {
		b.Append(r)
	}
}
