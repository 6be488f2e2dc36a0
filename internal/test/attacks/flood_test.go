// SPDX-License-Identifier: Apache-2.0

package attacks

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// floodAttacks are what a container with CAP_NET_RAW can send.
func floodAttacks() []attack {
	return []attack{
		{"flood/macs", floodMACs},
		{"flood/neighbours", floodNeighbours},
		{"flood/spoofed_macs_checked", spoofedMACs},
		{"flood/spoofed_mac_of_a_neighbour", spoofedNeighbour},
	}
}

// forged is the first two octets of the MACs that the attacks make up.
var forged = [2]byte{0x02, 0xee}

// send has a container send frames from a packet socket; frame makes the n-th.
func (c *container) send(frames int, frame func(n int, own net.HardwareAddr) []byte) {
	c.h.Helper()
	own, err := net.ParseMAC(c.mac())
	c.h.check(err)
	var sendErr error
	nstest.In(c.h, c.netns, func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			sendErr = err
			return
		}
		defer unix.Close(fd)
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			sendErr = err
			return
		}
		to := &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
		for n := range frames {
			if err := unix.Sendto(fd, frame(n, own), 0, to); err != nil && err != unix.ENOBUFS {
				sendErr = err
				return
			}
		}
	})
	c.h.check(sendErr)
}

// arp is a broadcast question of who has an address (RFC 826).
func arp(src net.HardwareAddr, from, to netip.Addr) []byte {
	f := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, src...)
	f = append(f, 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1)
	f = append(append(f, src...), from.AsSlice()...)
	return append(append(f, 0, 0, 0, 0, 0, 0), to.AsSlice()...)
}

func forgedMAC(n int) net.HardwareAddr {
	return binary.BigEndian.AppendUint32([]byte{forged[0], forged[1]}, uint32(n))
}

// learnt counts the MACs made up that the bridge has learnt.
func (h *host) learnt() int {
	return strings.Count(nstest.Run(h, h.ns, "bridge", "fdb", "show", "br", "br0"), "02:ee:")
}

// floodMACs: thousands of sources fill the bridge's forwarding table, and the others go on.
func floodMACs(h *host) {
	victim, evil := h.attach("victim", nil), h.attach("evil", nil)
	start := time.Now()
	evil.send(5000, func(n int, _ net.HardwareAddr) []byte {
		f := append([]byte{0x02, 0, 0, 0, 0, 1}, forgedMAC(n)...)
		return append(append(f, 0x88, 0xb5), make([]byte, 46)...) // an ethertype for experiments (IEEE 802)
	})
	if n := h.learnt(); n < 1000 {
		h.Errorf("the bridge has learnt %d addresses: nothing was tried", n)
	}
	victim.reaches()
	evil.del()
	if n := h.learnt(); n != 0 {
		h.Errorf("%d addresses outlive their port", n)
	}
	victim.whole()
	victim.del()
	if d := time.Since(start); d > 3*bound {
		h.Errorf("took %v", d)
	}
}

// floodNeighbours: questions from every other address of the subnet fill the host's neighbour
// table, and the others still reach the gateway. (All addresses of one subnet, so that no other
// namespace of this kernel runs short.)
func floodNeighbours(h *host) {
	victim, evil := h.attach("victim", nil), h.attach("evil", nil)
	gateway := netip.MustParseAddr(victim.gateway())
	evil.send(3000, func(n int, _ net.HardwareAddr) []byte {
		return arp(forgedMAC(n), netip.AddrFrom4([4]byte{10, 99, 0, byte(100 + n%150)}), gateway)
	})
	victim.reaches()
	late := h.attach("late", nil)
	late.whole()
	for _, c := range []*container{late, evil, victim} {
		c.del()
	}
}

// spoofedMACs: with macspoofchk frames from any other MAC are dropped before the bridge learns from
// them.
func spoofedMACs(h *host) {
	victim, evil := h.attach("victim", nil), h.attach("evil", map[string]any{"macspoofchk": true})
	evil.send(2000, func(n int, _ net.HardwareAddr) []byte {
		return arp(forgedMAC(n), netip.MustParseAddr(evil.address()), netip.MustParseAddr(evil.gateway()))
	})
	if n := h.learnt(); n != 0 {
		h.Errorf("the bridge has learnt %d MACs that were made up", n)
	}
	evil.whole()
	victim.whole()
	// Another MAC on the interface itself is no way around.
	nstest.Run(h, evil.netns, "ip", "link", "set", "eth0", "down")
	nstest.Run(h, evil.netns, "ip", "link", "set", "eth0", "address", "02:ee:00:00:00:01", "up")
	if nstest.Command(evil.netns, "ping", "-c1", "-W1", evil.gateway()).Run() == nil {
		h.Error("a changed MAC reaches the gateway")
	}
	if n := h.learnt(); n != 0 {
		h.Error("the bridge has learnt a changed MAC")
	}
	evil.del()
	victim.del()
	h.empty()
}

// spoofedNeighbour: with macspoofchk nobody takes another's place in the bridge's forwarding table.
func spoofedNeighbour(h *host) {
	victim, evil := h.attach("victim", nil), h.attach("evil", map[string]any{"macspoofchk": true})
	mac, err := net.ParseMAC(victim.mac())
	h.check(err)
	port := func() string { return nstest.Run(h, h.ns, "bridge", "fdb", "get", mac.String(), "br", "br0") }
	victim.reaches()
	before := port()
	evil.send(100, func(int, net.HardwareAddr) []byte {
		return arp(mac, netip.MustParseAddr(victim.address()), netip.MustParseAddr(victim.gateway()))
	})
	if after := port(); before != after {
		h.Errorf("the victim's port was %sand is %s", before, after)
	}
	victim.whole()
	evil.del()
	victim.del()
}
