// SPDX-License-Identifier: Apache-2.0

package rtnl

import "golang.org/x/sys/unix"

// Peer returns the other end of a veth that was read by this conn, in whatever namespace that is
// (IFLA_TARGET_NETNSID, Linux 4.20). The error for a missing link is [io/fs.ErrNotExist], and for a
// namespace that is dying that or EINVAL.
func (c *Conn) Peer(l LinkState) (LinkState, error) {
	c.enc.buf = c.enc.buf[:0]
	c.enc.begin(unix.RTM_GETLINK, unix.NLM_F_REQUEST)
	c.linkHeader(unix.AF_UNSPEC, l.PeerIndex)
	if l.peerNetNS.known {
		c.enc.u32(unix.IFLA_TARGET_NETNSID, uint32(l.peerNetNS.number))
	}
	c.enc.u32(unix.IFLA_EXT_MASK, skipStats)
	var m linkMessage
	found := false
	err := c.ask("get the peer of "+l.Name, func(data []byte) (err error) {
		found = true
		m, err = decodeLink(data)
		return err
	})
	if err == nil && !found {
		err = errShort
	}
	return m.LinkState, err
}

// PeerIn returns the index of the other end of a veth that was read by this conn if that end is in
// the given namespace, and 0 if it's in another one. It asks for the number that the conn's own
// namespace has given to ns (RTM_GETNSID, Linux 4.0, linux/net_namespace.h). The error is an
// [*Error].
func (c *Conn) PeerIn(ns *NetNS, l LinkState) (index int, err error) {
	if !l.peerNetNS.known {
		return 0, nil // both ends are in one
	}
	c.enc.buf = c.enc.buf[:0]
	off := c.enc.begin(unix.RTM_GETNSID, unix.NLM_F_REQUEST)
	c.enc.fixed(unix.AF_UNSPEC, 0, 0, 0) // struct rtgenmsg
	c.enc.u32(unix.NETNSA_FD, uint32(ns.fd))
	c.enc.end(off)
	err = c.ask("get the number of a namespace", func(data []byte) error {
		a := attrs{rest: data[min(len(data), sizeofRtGenmsg):]}
		for a.next() {
			if a.typ == unix.NETNSA_NSID && a.u32() == uint32(l.peerNetNS.number) {
				index = l.PeerIndex
			}
		}
		return a.err
	})
	return index, err
}

const sizeofRtGenmsg = 4 // struct rtgenmsg (linux/rtnetlink.h), aligned
