// SPDX-License-Identifier: Apache-2.0

package sysctl

import (
	"errors"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// Forward turns a family's forwarding on if it's off. It's never turned off again.
func Forward(conn *rtnl.Conn, four bool) error {
	name := "net/ipv6/conf/all/forwarding"
	if four {
		name = "net/ipv4/ip_forward"
	}
	now, err := Read(name)
	if err == nil && now == "1" {
		return nil
	}
	if !four {
		if err := keepRouters(conn); err != nil {
			return fault.Wrap("failed to enable forwarding: keep the routes that routers advertise", err)
		}
	}
	return fault.Wrap("failed to enable forwarding", Write(name, "1"))
}

// keepRouters keeps the routes that the host has from router advertisements. A host that starts to
// forward drops them, and hears no more advertisements, unless the link's accept_ra is 2
// (rt6_purge_dflt_routers, net/ipv6/route.c).
func keepRouters(conn *rtnl.Conn) error {
	kept := map[int]bool{}
	for {
		err := keepRoutersOnce(conn, kept)
		if !errors.Is(err, rtnl.ErrInterrupted) {
			return err
		}
	}
}

func keepRoutersOnce(conn *rtnl.Conn, kept map[int]bool) error {
	for r, err := range conn.Routes(rtnl.RouteFilter{Family: unix.AF_INET6}) {
		if err != nil {
			return err
		}
		if r.Protocol != unix.RTPROT_RA || kept[r.Link] {
			continue
		}
		kept[r.Link] = true
		name, err := conn.Name(r.Link)
		if err != nil {
			continue // it's gone, and its routes with it
		}
		key := IPv6(name, "accept_ra")
		if now, err := Read(key); err != nil || now != "1" {
			continue // 2 already, or 0 if a program of the host hears the advertisements
		}
		if err := Write(key, "2"); err != nil {
			return err
		}
	}
	return nil
}
