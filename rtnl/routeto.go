// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// A Way is where packets from the host to an address go.
type Way struct {
	Link  int  // index of the link that they leave by; the loopback's for the host's own
	Local bool // the address is the host's own (RTN_LOCAL)
}

// WayTo asks the kernel which way a packet to an address takes, by all its rules and tables. No way is an *Error
// with ENETUNREACH or EHOSTUNREACH.
func (c *Conn) WayTo(addr netip.Addr) (Way, error) {
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
	var w Way
	err := c.ask("get route to "+addr.String(), func(data []byte) error {
		r, _, err := decodeRoute(data)
		if err == nil {
			w = Way{r.Link, data[7] == unix.RTN_LOCAL}
		}
		return err
	})
	return w, err
}
