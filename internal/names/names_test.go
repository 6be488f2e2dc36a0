// SPDX-License-Identifier: Apache-2.0

package names

import (
	"strconv"
	"testing"
)

// Interfaces are in the order of their names' numbers, by index and, as old kernels list them, by its last eight bits.
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
			if index := peerIndexOf(ifName, hash); index%2 != 1 || index < Least || index >= 1<<31 {
				t.Errorf("%s: %#x", ifName, index)
			}
		}
	}
}
