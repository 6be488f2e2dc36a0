// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// missingRoutes are the host routes that an attachment of ptp lacks. Without a configuration, an
// attachment is ptp's if its host end has the gateway's address.
func (n *node) missingRoutes(h *held, c *netconf) (missing []rtnl.Route, err error) {
	if h.link.Index == 0 || h.link.Master != 0 || c != nil && c.main.Bridge != "" {
		return nil, nil
	}
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if c == nil && !hasGateway(conn, h.link.Index) {
		return nil, nil
	}
	for _, a := range h.Addresses {
		has := false
		for r, err := range conn.Routes(rtnl.RouteFilter{Family: familyOf(a), Link: h.link.Index}) {
			if err != nil {
				return nil, err
			}
			has = has || r.Dst.Contains(a)
		}
		// An address that the container added itself has no route.
		ours := slices.Contains(h.record.Addrs, a) || !h.leased
		if !has && ours {
			missing = append(missing, hostRoute(a, h.link.Index))
		}
	}
	return missing, nil
}

// hostRoute is the route that ptp's ADD makes to a container's address.
func hostRoute(a netip.Addr, link int) rtnl.Route {
	r := rtnl.Route{Dst: netip.PrefixFrom(a, a.BitLen()), Link: link}
	if a.Is4() {
		r.Scope = rtnl.ScopeHost
	}
	return r
}

func hasGateway(conn *rtnl.Conn, link int) bool {
	for a, err := range conn.Addrs(link, unix.AF_UNSPEC) {
		if err == nil && !a.Prefix.Addr().IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

// routes restores the host routes of ptp's containers. A container whose link is down can't have
// them, which doesn't keep the others from theirs.
func (s *syncing) routes() error {
	var failures []error
	for _, h := range s.node.list {
		var conf *netconf
		for _, c := range s.confs {
			if c.network.Name() == h.Network {
				conf = c
			}
		}
		missing, err := s.node.missingRoutes(h, conf)
		if err != nil {
			return err
		}
		if err := s.addRoutes(h, missing); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

func (s *syncing) addRoutes(h *held, missing []rtnl.Route) error {
	if len(missing) == 0 {
		return nil
	}
	if !s.dry {
		conn, err := rtnl.Dial(nil)
		if err != nil {
			return err
		}
		defer conn.Close()
		var b rtnl.Batch
		for _, r := range missing {
			b.Ensure(r)
		}
		if err := conn.Do(&b); err != nil {
			return err
		}
	}
	for _, r := range missing {
		s.tell(h, s.verb("restored", "restore"), "the host's route to "+r.Dst.Addr().String())
	}
	return nil
}
