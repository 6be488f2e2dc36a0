// SPDX-License-Identifier: Apache-2.0

package rtnl

import "golang.org/x/sys/unix"

// Peer returns the other end of a veth that was read by this conn, in whatever namespace that is (IFLA_TARGET_NETNSID,
// Linux 4.20), as [Conn.PeerAddrs] does for its addresses. A namespace that's dying is fs.ErrNotExist or EINVAL.
func (c *Conn) Peer(l Link) (Link, error) {
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
	return m.Link, err
}
