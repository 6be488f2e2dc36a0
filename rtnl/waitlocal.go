// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// WaitLocal waits until an IPv6 address that was added is in use: packets to it arrive, and
// questions for it are answered. The kernel's own work does this a little after the change that
// adds the address, even without duplicate detection (addrconf_dad_work, net/ipv6/addrconf.c).
// Until then the link hasn't joined the multicast group in which neighbours ask for the address,
// and they ask again only after a second. The local route of the address is made last, so WaitLocal
// waits for that (RTNLGRP_IPV6_ROUTE). The error for the end of the timeout is
// [os.ErrDeadlineExceeded].
func (c *Conn) WaitLocal(addr netip.Addr, timeout time.Duration) error {
	if c.isLocal(addr) {
		return nil
	}
	local := false
	err := c.await(wait{
		group: unix.RTNLGRP_IPV6_ROUTE,
		look: func() error {
			if c.isLocal(addr) {
				local = true
			}
			return nil
		},
		event: func(m netlink.Message) { local = local || isLocalRoute(m, addr) },
		done:  func() bool { return local },
	}, timeout)
	if err != nil {
		return fmt.Errorf("rtnl: wait until %s is in use: %w", addr, err)
	}
	return nil
}

func (c *Conn) isLocal(addr netip.Addr) bool {
	_, local, err := c.RouteTo(addr)
	return err == nil && local
}

// isLocalRoute reports whether an event says that an address got its route.
func isLocalRoute(m netlink.Message, addr netip.Addr) bool {
	if m.Header.Type != unix.RTM_NEWROUTE {
		return false
	}
	r, _, err := decodeRoute(m.Data)
	return err == nil && m.Data[7] == unix.RTN_LOCAL && r.Dst == netip.PrefixFrom(addr, addr.BitLen())
}
