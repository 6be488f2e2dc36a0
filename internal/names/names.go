// SPDX-License-Identifier: Apache-2.0

// Package names derives the names of links from their owners, and owners from links.
package names

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"unicode"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/sha512"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Names are the ways in which an attachment's link is known. All are derived from the owner. So DEL
// and GC find the remains of a process that died midway, and nothing need be read back.
type Names struct {
	Link  string // the host end
	Index int    // of the host end: even
	// Peer is the container end's index: odd. It must differ from the host end's. If a link's index
	// equals its peer's, the kernel thinks that it has no peer, and may then delay its carrier by a
	// second (net/core/link_watch.c).
	Peer int
	MAC  net.HardwareAddr // of the host end: names network and owner
}

// Indexes are chosen from here up to Least+indexes, far above those that the kernel counts up from
// 1.
const (
	Least   = 1 << 24
	indexes = 1<<30 - 1<<24
)

// Attempts bounds how many names are tried if another link has one.
const Attempts = 4

// Of derives an attachment's names. attempt counts up if a name is taken.
//
// The host end's MAC is fe, two octets of the network, three of the owner. With an index in our
// range it tells the network of a link, whatever the link's name. A first octet of fe is the
// highest that a local unicast address has, so a bridge that follows its ports' lowest MAC ignores
// it.
func Of(network, containerID, ifName string, attempt int) Names {
	owner := sha512.Sum512([]byte(network + "\x00" + containerID + "\x00" + ifName + "\x00" + strconv.Itoa(attempt)))
	mark := networkMark(network)
	// Host ends have even indexes and containers' ends odd ones. So they never collide in one
	// namespace.
	index := Least + int(binary.BigEndian.Uint32(owner[4:])%indexes)&^1
	return Names{
		Link:  usual + hex.EncodeToString(owner[:4]),
		Index: index,
		Peer:  peerIndexOf(ifName, binary.BigEndian.Uint32(owner[8:])),
		MAC:   []byte{0xfe, mark[0], mark[1], owner[0], owner[1], owner[2]},
	}
}

// usual begins the name of a host end.
const usual = "veth"

// hashMark stands for digits of the owner's hash in a pattern of names, and leastDigits is how many
// there are at least.
const (
	hashMark    = "{hash}"
	leastDigits = 4
)

// Called is the name of a host end that follows a pattern instead of being [Of]'s link: "{hash}"
// stands for the eight digits of that, or as many as there's room for.
func Called(link, pattern string) string {
	digits := link[len(usual):]
	room := MaxLink - (len(pattern) - len(hashMark))
	return strings.Replace(pattern, hashMark, digits[:min(room, len(digits))], 1)
}

// IsFixed reports whether all names that follow a pattern are one.
func IsFixed(pattern string) bool { return pattern != "" && !strings.Contains(pattern, hashMark) }

// IsPattern checks a pattern for [Called].
func IsPattern(s string) bool {
	before, after, hashed := strings.Cut(s, hashMark)
	rest := before + after
	if hashed {
		rest += "0000"[:leastDigits]
	}
	if rest == "all" || rest == "default" { // directories of net.ipv4.conf, so the kernel refuses them
		return false
	}
	return LinkProblem(rest) == "" && !strings.ContainsAny(rest, "{}")
}

// Shown finds an attachment's host end among the interfaces of its result: by its usual name or, as
// the configuration may have chosen the name, by its MAC. Index 0 is none.
func Shown(network string, a spec.Attachment, res *spec.Result) (name string, index int) {
	for attempt := range Attempts {
		nm := Of(network, a.ContainerID, a.IfName, attempt)
		mac := nm.MAC.String()
		for i := range res.Interfaces {
			if l := &res.Interfaces[i]; l.Sandbox == "" && (l.Name == nm.Link || l.MAC == mac) {
				name, index = l.Name, nm.Index
			}
		}
	}
	return name, index
}

// networkMark is the common part of the MACs of a network's host ends.
func networkMark(network string) [2]byte {
	sum := sha512.Sum512([]byte(network))
	return [2]byte{sum[0], sum[1]}
}

// InNetwork reports whether a link is one that [Of] named for the network. It goes by MAC and
// index, since anybody can change a name.
func InNetwork(network string, l rtnl.Link) bool {
	mark := networkMark(network)
	return l.Index >= Least && len(l.MAC) == 6 && l.MAC[0] == 0xfe && l.MAC[1] == mark[0] && l.MAC[2] == mark[1]
}

// IsPeer reports whether a link in the container has the index that was chosen for its end of the
// pair. An earlier version chose the index after the host end's, and that counts too.
func (n Names) IsPeer(index int) bool { return index == n.Peer || index == n.Index+1 }

// places is how many interfaces of a container can be in order.
const places = 256

// peerIndexOf puts the interfaces of a container in the order of the numbers that their names end
// with: eth0 before eth1 before eth10. getifaddrs(3) follows the indexes, and so does any program
// that takes a container's first address. Before Linux 6.9 only the last eight bits count
// (dev_index_hash, net/core/dev.c). Without a number the place is by the hash.
func peerIndexOf(ifName string, hash uint32) int {
	place, numbered := numberOf(ifName)
	if !numbered {
		place = int(hash % places)
	}
	last := min(2*place+3, 255)
	return Least + place<<22 | int(hash>>18)<<8 | last
}

// numberOf returns the number that a name ends with, or the last place if it's beyond.
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

// ContainerMAC derives the container's MAC from its address. So an address that is given again
// keeps its MAC, and no neighbour's cache is ever wrong. Without an address it's derived from the
// owner and this boot of this host, since two hosts whose bridges are joined may both have a
// container c1.
func ContainerMAC(addrs []netip.Prefix, seed string) net.HardwareAddr {
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

// BridgeMAC is given to a bridge at its creation, which pins it. Otherwise it would change as ports
// come and go, and neighbours would lose the gateway for as long as their caches live.
func BridgeMAC(bridge, boot string, netns uint64) net.HardwareAddr {
	sum := sha512.Sum512([]byte(bridge + "\x00" + boot + "\x00" + strconv.FormatUint(netns, 10)))
	return []byte{sum[0]&^1 | 2, sum[1], sum[2], sum[3], sum[4], sum[5]}
}

// Alias is the text on a host end that names its owner. It's for people, and for rebuilding a lost
// lease store. Linux allows 255 bytes.
func Alias(o nft.Owner) string {
	s := o.Network + "/" + o.ContainerID + "/" + o.IfName
	if len(s) > 255 {
		return ""
	}
	return s
}

// Owner reads a host end's alias. It believes the alias only if the link has the index of that
// owner's link. The MAC doesn't matter: an administrator may have set it.
func Owner(network string, l rtnl.Link) (ipam.Owner, bool) {
	parts := strings.Split(l.Alias, "/")
	if len(parts) != 3 || parts[0] != network {
		return ipam.Owner{}, false
	}
	for attempt := range Attempts {
		if Of(network, parts[1], parts[2], attempt).Index == l.Index {
			return ipam.Owner{ContainerID: parts[1], IfName: parts[2]}, true
		}
	}
	return ipam.Owner{}, false
}

// OwnerOf returns the owner of a host end of any network, as [Owner] does. It knows nothing of an
// owner whose text is longer than 255 bytes.
func OwnerOf(l rtnl.Link) (nft.Owner, bool) {
	network, _, _ := strings.Cut(l.Alias, "/")
	o, ok := Owner(network, l)
	return RulesOwner(network, o), ok
}

// Lessee is an attachment in the form that the leases use.
func Lessee(a spec.Attachment) ipam.Owner {
	return ipam.Owner{ContainerID: a.ContainerID, IfName: a.IfName}
}

// RulesOwner is an owner in the form that the ruleset uses.
func RulesOwner(network string, o ipam.Owner) nft.Owner {
	return nft.Owner{Network: network, ContainerID: o.ContainerID, IfName: o.IfName}
}

// RulesOwners are the owners of attachments in the form that the ruleset uses.
func RulesOwners(network string, list []spec.Attachment) []nft.Owner {
	owners := make([]nft.Owner, len(list))
	for i, a := range list {
		owners[i] = RulesOwner(network, Lessee(a))
	}
	return owners
}

// MaxLink is the longest name of a link in bytes: IFNAMSIZ less the final NUL (linux/if.h).
const MaxLink = 15

// LinkProblem checks a link's name as the kernel would (dev_valid_name, net/core/dev.c).
func LinkProblem(name string) string {
	switch {
	case name == "":
		return "interface name is empty"
	case len(name) > MaxLink:
		return "interface name is too long"
	case name == "." || name == "..":
		return "interface name is . or .."
	case strings.ContainsAny(name, "/:") || strings.ContainsFunc(name, unicode.IsSpace):
		return "interface name contains / or : or whitespace characters"
	case strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsAny(name, "%\"\\"):
		// The kernel expands % at creation; quotes would not survive in the ruleset's comments.
		return `interface name contains %, ", \ or control characters`
	}
	return ""
}
