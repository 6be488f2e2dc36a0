// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/internal/sha512"
	"github.com/swiftcni/swiftcni/rtnl"
)

// names are the ways in which an attachment's link is known. All are derived from the owner, so DEL and GC
// find what a process that died midway left, and nothing that was made need be read back.
type names struct {
	link  string           // the host end
	index int              // of the host end: even
	peer  int              // index of the container's end: odd
	mac   net.HardwareAddr // of the host end: names network and owner
}

// Indexes are chosen from here up to leastIndex+indexes, far above those that the kernel counts up from 1.
const (
	leastIndex = 1 << 24
	indexes    = 1<<30 - 1<<24
)

// attempts bounds how many names are tried when one is taken by a stranger.
const attempts = 4

// namesOf derives an attachment's names. attempt counts up when a name is found taken.
//
// The host end's MAC is fe, two octets of the network, three of the owner: with an index in our range it says of
// which network a link is, whatever it's called. A first octet of fe is the highest that a local unicast address
// has, so a bridge that follows its ports' lowest MAC ignores it.
func namesOf(network, containerID, ifName string, attempt int) names {
	owner := sha512.Sum512([]byte(network + "\x00" + containerID + "\x00" + ifName + "\x00" + strconv.Itoa(attempt)))
	net := networkMark(network)
	// Host ends have even indexes and containers' ends odd ones, so that in one namespace they never meet each other.
	index := leastIndex + int(binary.BigEndian.Uint32(owner[4:])%indexes)&^1
	return names{
		link:  "veth" + hex.EncodeToString(owner[:4]),
		index: index,
		peer:  peerIndexOf(ifName, binary.BigEndian.Uint32(owner[8:])),
		mac:   []byte{0xfe, net[0], net[1], owner[0], owner[1], owner[2]},
	}
}

// networkMark is what the MACs of a network's host ends share.
func networkMark(network string) [2]byte {
	sum := sha512.Sum512([]byte(network))
	return [2]byte{sum[0], sum[1]}
}

// ofNetwork reports whether a link is one that [namesOf] named for the network: by MAC and index, since a name
// can be changed by anybody.
func ofNetwork(network string, l rtnl.Link) bool {
	mark := networkMark(network)
	return l.Index >= leastIndex && len(l.MAC) == 6 && l.MAC[0] == 0xfe && l.MAC[1] == mark[0] && l.MAC[2] == mark[1]
}

// peerIndex is the container end's index. It must differ from the host end's: the kernel takes a link whose
// index equals its peer's for a lone one, and then may delay its carrier by a second (net/core/link_watch.c).
func (n names) peerIndex() int { return n.peer }

// isPeerIndex tells whether a link in the container has the index that was chosen for its end of the pair, by this
// version or by one that chose the host end's next.
func (n names) isPeerIndex(index int) bool { return index == n.peer || index == n.index+1 }

// places is how many interfaces of a container are in order.
const places = 256

// peerIndexOf puts the interfaces of a container in the order of the numbers that their names end with, eth0 before eth1
// before eth10: getifaddrs(3) and whatever takes a container's first address follow the indexes. Before Linux 6.9 it's
// their last eight bits that count (dev_index_hash, net/core/dev.c). Without a number the place is by the hash.
func peerIndexOf(ifName string, hash uint32) int {
	place, numbered := numberOf(ifName)
	if !numbered {
		place = int(hash % places)
	}
	last := min(2*place+3, 255)
	return leastIndex + place<<22 | int(hash>>18)<<8 | last
}

// numberOf returns the number that a name ends with, the last place if it's beyond.
func numberOf(name string) (n int, ok bool) {
	digits := name[len(strings.TrimRight(name, "0123456789")):]
	if digits == "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		n = places
	}
	return min(n, places-1), true
}

// macOf derives the container's MAC from its address, so that an address that is given again keeps its MAC
// and no neighbour's cache is ever wrong. Without an address it's derived from the owner and this boot of
// this host, since two hosts whose bridges are joined may both call a container c1.
func macOf(addrs []netip.Prefix, seed string) net.HardwareAddr {
	for _, p := range addrs {
		if p.Addr().Is4() {
			a := p.Addr().As4()
			return []byte{0x0a, 0x58, a[0], a[1], a[2], a[3]}
		}
	}
	if len(addrs) > 0 {
		seed = string(addrs[0].Addr().AsSlice())
	}
	sum := sha512.Sum512([]byte(seed))
	return []byte{0x0a, 0x58 | 1, sum[0], sum[1], sum[2], sum[3]}
}

// bridgeMAC is given to a bridge at its creation, which pins it: otherwise it would change as ports come and go,
// and neighbours would lose the gateway for as long as their caches live.
func bridgeMAC(bridge, boot string, netns uint64) net.HardwareAddr {
	sum := sha512.Sum512([]byte(bridge + "\x00" + boot + "\x00" + strconv.FormatUint(netns, 10)))
	return []byte{sum[0]&^1 | 2, sum[1], sum[2], sum[3], sum[4], sum[5]}
}
