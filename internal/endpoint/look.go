// SPDX-License-Identifier: Apache-2.0

package endpoint

import (
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Recorded finds the container's link in a result.
func Recorded(prev *spec.Result, a spec.Attachment) (*spec.Interface, error) {
	var other *spec.Interface
	for i := range prev.Interfaces {
		link := &prev.Interfaces[i]
		switch {
		case link.Name != a.IfName:
		case link.Sandbox == a.NetNS:
			return link, nil
		case link.Sandbox != "" && other == nil:
			other = link
		}
	}
	if other != nil {
		return nil, fault.Wrong("Sandbox in prevResult " + other.Sandbox + " doesn't match configured netns: " + a.NetNS)
	}
	return nil, fault.Wrong("prevResult has no container interface " + strconv.Quote(a.IfName))
}

// Look finds the addresses and routes of a result on a container's link.
func Look(inside *rtnl.Conn, l rtnl.LinkState, prev *spec.Result) error {
	for _, ip := range prev.IPs {
		on, err := inside.HasAddr(l.Index, ip.Address)
		if err != nil {
			return fault.Wrap("list the container's addresses", err)
		}
		if !on {
			return fault.Wrong("Failed to match addr " + ip.Address.String() + " on interface " + l.Name)
		}
	}
	main, err := mainTable(inside, l)
	if err != nil {
		return fault.Wrap("list the container's VRFs", err)
	}
	return lookAtRoutes(inside, prev, main)
}

// mainTable is the table for routes that name none: that of a VRF, if a later plugin has made the
// link a port of one.
func mainTable(inside *rtnl.Conn, l rtnl.LinkState) (uint32, error) {
	if l.Master != 0 {
		for vrf, err := range inside.VRFs() {
			if err != nil || vrf.Index == l.Master {
				return vrf.Table, err
			}
		}
	}
	return rtnl.TableMain, nil
}

// lookAtRoutes looks for each route in the table that it names, or in the main one.
func lookAtRoutes(inside *rtnl.Conn, prev *spec.Result, main uint32) error {
	for _, want := range prev.Routes {
		table := main
		if want.Table != nil && *want.Table != 0 {
			table = uint32(*want.Table)
		}
		found, err := hasRoute(inside, want, table)
		if err == nil && !found && table == rtnl.TableMain {
			found, err = hasRouteBySource(inside, want, prev.IPs)
		}
		if err != nil {
			return fault.Wrap("list the container's routes", err)
		}
		if !found {
			return fault.Wrong("Expected Route " + want.Dst.String() + " not found")
		}
	}
	return nil
}

func hasRoute(inside *rtnl.Conn, want spec.Route, table uint32) (found bool, _ error) {
	for r, err := range inside.Routes(rtnl.RouteFilter{Table: table}) {
		if err != nil {
			return false, err
		}
		gw := result.Specified(want.Gateway)
		found = found || r.Dst == want.Dst.Masked() && (!gw.IsValid() || r.Gateway == gw)
	}
	return found, nil
}

// hasRouteBySource looks into the tables that rules lead to from the addresses: a later plugin may
// have moved the route there.
func hasRouteBySource(inside *rtnl.Conn, want spec.Route, ips []spec.IP) (bool, error) {
	for r, err := range inside.Rules(result.Family(want.Dst.Addr())) {
		if err != nil {
			return false, err
		}
		own := slices.ContainsFunc(ips, func(ip spec.IP) bool { return result.Single(ip.Address.Addr()) == r.Src })
		if !own || r.Table == 0 || r.OtherSelectors {
			continue
		}
		if found, err := hasRoute(inside, want, r.Table); found || err != nil {
			return found, err
		}
	}
	return false, nil
}
