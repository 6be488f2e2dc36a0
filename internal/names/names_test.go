// SPDX-License-Identifier: Apache-2.0

package names

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/swiftcni/swiftcni/rtnl"
)

// Interfaces are in the order of their names' numbers, by index and, as old kernels list them, by
// its last eight bits.
func TestPeerIndexesAreInOrder(t *testing.T) {
	order := []string{"eth0", "eth1", "net2", "eth3", "eth10", "net11", "eth100"}
	for _, id := range []string{"c1", "c2", "a", "0123456789abcdef"} {
		last := Names{}
		for i, ifName := range order {
			nm := Of("net"+strconv.Itoa(i%3), id, ifName, 0)
			if i > 0 && (nm.Peer <= last.Peer || nm.Peer&255 <= last.Peer&255) {
				t.Errorf("%s: %s has index %#x, after %#x", id, ifName, nm.Peer, last.Peer)
			}
			if nm.Peer == Of("net"+strconv.Itoa(i%3), id, ifName, 1).Peer {
				t.Errorf("%s: %s: the next attempt has the same index", id, ifName)
			}
			last = nm
		}
	}
	for _, ifName := range []string{"eth0", "wan", "eth255", "eth256", "eth99999999999999999", "0", "lan1.4094"} {
		for _, hash := range []uint32{0, 1, 1<<31 + 255, 1<<32 - 1} {
			if index := peerIndexOf(ifName, hash); index%2 != 1 || index < Least || int64(index) >= 1<<31 {
				t.Errorf("%s: %#x", ifName, index)
			}
		}
	}
}

// A pattern keeps what makes a name another owner's or attempt's.
func TestNamesFollowAPattern(t *testing.T) {
	nm := Of("mynet", "c1", "eth0", 0)
	hash := nm.Link[len("veth"):]
	for pattern, want := range map[string]string{
		"veth{hash}": nm.Link, "{hash}": hash, "cali{hash}": "cali" + hash, "{hash}-if": hash + "-if", "web": "web",
		"seven77{hash}": "seven77" + hash, "eleven11111{hash}": "eleven11111" + hash[:4], "six{hash}six666": "six" + hash[:6] + "six666",
		"fifteen15151515": "fifteen15151515",
	} {
		if got := Called(nm.Link, pattern); got != want || !IsPattern(pattern) || IsFixed(pattern) != (pattern == want) {
			t.Errorf("%s: %s, want %s; %v, %v", pattern, got, want, IsPattern(pattern), IsFixed(pattern))
		}
	}
	for _, pattern := range []string{"twelve121212{hash}", "a{hash}b{hash}", "{hash", "hash}", "{Hash}", "a/{hash}", "a%{hash}", "sixteen161616161", "all", "default"} {
		if IsPattern(pattern) {
			t.Errorf("%s: accepted", pattern)
		}
	}
}

func TestNamesAreDerived(t *testing.T) {
	seen := map[string]bool{}
	for _, owner := range [][3]string{{"n", "c1", "eth0"}, {"n", "c1", "eth1"}, {"n", "c", "1eth0"}, {"nc", "1", "eth0"}, {"m", "c1", "eth0"}} {
		nm := Of(owner[0], owner[1], owner[2], 0)
		if seen[nm.Link] || seen[nm.MAC.String()] {
			t.Error("names meet:", owner)
		}
		seen[nm.Link], seen[nm.MAC.String()] = true, true
		if nm.Index%2 != 0 || nm.Index < Least || nm.Peer%2 != 1 || nm.Peer < Least || int64(nm.Peer) >= 1<<31 || len(nm.Link) > MaxLink || nm.MAC[0]&3 != 2 {
			t.Errorf("%+v", nm)
		}
		for _, other := range []string{"n", "nc", "m", "x"} {
			if InNetwork(other, rtnl.Link{Index: nm.Index, MAC: nm.MAC}) != (other == owner[0]) {
				t.Errorf("%v taken as of %s or not", owner, other)
			}
		}
	}
}

func TestContainerMAC(t *testing.T) {
	p4, p6 := netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fd00::3/64")
	if m := ContainerMAC([]netip.Prefix{p6, p4}, "s"); m.String() != "0a:58:0a:01:02:03" {
		t.Error(m)
	}
	if ContainerMAC([]netip.Prefix{p6}, "s").String() != ContainerMAC([]netip.Prefix{p6}, "t").String() {
		t.Error("an address that is given again changes its MAC")
	}
	if ContainerMAC(nil, "s").String() == ContainerMAC(nil, "t").String() {
		t.Error("two containers without addresses share a MAC")
	}
	for _, m := range [][]byte{ContainerMAC(nil, "s"), ContainerMAC([]netip.Prefix{p6}, ""), ContainerMAC([]netip.Prefix{p4}, ""), BridgeMAC("b", "x", 1)} {
		if m[0]&3 != 2 {
			t.Errorf("%x isn't a local unicast address", m)
		}
	}
}
