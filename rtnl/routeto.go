// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// RouteTo asks the kernel for the link by which the host's packets to an address leave, by all its
// rules and tables. Local says that the address is the host's own (RTN_LOCAL); the link is then the
// loopback. If no route leads there, the error is an [*Error] with ENETUNREACH or EHOSTUNREACH.
func (c *Conn) RouteTo(addr netip.Addr) (link int, local bool, err error) {
	family := byte(unix.AF_INET6)
	if addr.Is4() {
		family = unix.AF_INET
	}
	c.enc.buf = c.enc.buf[:0]
	c.enc.begin(unix.RTM_GETROUTE, unix.NLM_F_REQUEST)
	// struct rtmsg (linux/rtnetlink.h): family and destination's length.
	c.enc.fixed(family, byte(addr.BitLen()), 0, 0, 0, 0, 0, 0)
	c.enc.fixed32(0)
	c.enc.addr(unix.RTA_DST, addr)
	err = c.ask("get route to "+addr.String(), func(data []byte) error {
		r, _, err := decodeRoute(data)
		if err == nil {
			link, local = r.Link, data[7] == unix.RTN_LOCAL
		}
		return err
	})
	return link, local, err
}
