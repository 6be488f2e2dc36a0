// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"

	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// enableForwarding turns a family's forwarding on where it's off; nobody ever turns it off again.
func (at *attaching) enableForwarding(four bool) error {
	name := "net/ipv6/conf/all/forwarding"
	if four {
		name = "net/ipv4/ip_forward"
	}
	now, err := readSysctl(name)
	if err == nil && now == "1" {
		return nil
	}
	if !four {
		if err := keepRouters(at.conn); err != nil {
			return failed("failed to enable forwarding: keep the routes that routers advertise", err)
		}
	}
	return failed("failed to enable forwarding", writeSysctl(name, "1"))
}

// keepRouters keeps the routes that the host has from router advertisements. A host that starts to forward drops them, and
// hears no more advertisements, unless the link's accept_ra is 2 (rt6_purge_dflt_routers, net/ipv6/route.c).
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
		key := sysctl6(name, "accept_ra")
		if now, err := readSysctl(key); err != nil || now != "1" {
			continue // as 2 already, or 0 where a program of the host hears the advertisements
		}
		if err := writeSysctl(key, "2"); err != nil {
			return err
		}
	}
	return nil
}
