// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/proof"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// links are the veth links of this network namespace, in this boot of the host, and its bridges.
type links struct {
	conn    *rtnl.Conn
	proof   *proof.Proof // nil: not everything was read
	veths   map[int]rtnl.LinkState
	owned   map[nft.Owner]rtnl.LinkState // host ends that name their owner
	names   map[int]string               // of bridges
	bridges map[int]rtnl.LinkState
	peers   map[int][]netip.Prefix // addresses of the veths' other ends

	bridgeAddrs map[string][]netip.Prefix // by the bridge's name
	peerMACs    map[int]net.HardwareAddr  // of the other ends of host ends
}

// readLinks lists the links once, since many will be looked up.
func readLinks() (*links, error) {
	l := &links{veths: map[int]rtnl.LinkState{}, owned: map[nft.Owner]rtnl.LinkState{}, names: map[int]string{}, bridges: map[int]rtnl.LinkState{}, peers: map[int][]netip.Prefix{},
		bridgeAddrs: map[string][]netip.Prefix{}, peerMACs: map[int]net.HardwareAddr{}}
	var err error
	if l.conn, err = rtnl.Dial(nil); err != nil {
		return l, err
	}
	if err := join(l.readBridges(l.conn), l.readVeths(l.conn)); err != nil {
		return l, err
	}
	// This comes last: something that is missing in an incomplete list may well exist.
	l.proof, err = proof.New(l.conn)
	return l, err
}

// close ends further questions.
func (l *links) close() {
	if l.conn != nil {
		l.conn.Close()
	}
}

// readBridges lists the bridges and their addresses.
func (l *links) readBridges(conn *rtnl.Conn) error {
	for link, err := range conn.Links(rtnl.LinkFilter{Kind: "bridge"}) {
		if err != nil {
			return err
		}
		l.names[link.Index], l.bridges[link.Index] = link.Name, link
	}
	return l.readBridgeAddrs(conn)
}

// readBridgeAddrs lists the bridges' addresses. A bridge that's gone meanwhile isn't one.
func (l *links) readBridgeAddrs(conn *rtnl.Conn) error {
	for i, name := range l.names {
		for a, err := range conn.Addrs(i, unix.AF_UNSPEC) {
			if errors.Is(err, fs.ErrNotExist) {
				delete(l.names, i)
				delete(l.bridges, i)
				break
			}
			if err != nil {
				return err
			}
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				l.bridgeAddrs[name] = append(l.bridgeAddrs[name], a.Prefix)
			}
		}
	}
	return nil
}

// readVeths lists the veths, their owners, and the addresses of their other ends.
func (l *links) readVeths(conn *rtnl.Conn) error {
	for link, err := range conn.Links(rtnl.LinkFilter{Kind: "veth"}) {
		if err != nil {
			return err
		}
		l.veths[link.Index] = link
		if o, ok := names.OwnerOf(link.Link); ok {
			l.owned[o] = link
			if p, err := conn.Peer(link); err == nil {
				l.peerMACs[link.Index] = p.MAC
			}
		}
	}
	for i, link := range l.veths {
		for a, err := range conn.PeerAddrs(link) {
			if err != nil {
				break // its namespace is dying
			}
			if !a.Prefix.Addr().IsLinkLocalUnicast() {
				l.peers[i] = append(l.peers[i], a.Prefix)
			}
		}
	}
	return nil
}

// addrs are the addresses of a veth's other end, without link-local ones.
func (l *links) addrs(link rtnl.LinkState) []netip.Prefix { return l.peers[link.Index] }

// find looks for a record's link: by its index, which outlives a rename and another MAC, or by its
// name.
func (l *links) find(network string, r ipam.Record) existence {
	switch {
	case l.proof == nil || r.Boot == "" || r.Index == 0:
		return unknown
	case l.veths[r.Index].Index != 0:
		return exists
	case l.proof.Dead(network, r):
		return missing
	}
	return unknown
}

// goneOf reports whether the attachment of an owner without a record provably doesn't exist, given
// that bridge or ptp made it.
func (l *links) goneOf(o nft.Owner) bool { return l.proof != nil && l.proof.DeadOwner(o) }
