// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net"
	"slices"
	"strconv"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// Interfaces are in the order of their names' numbers, by index and, as old kernels list them, by its last eight bits.
func TestPeerIndexesAreInOrder(t *testing.T) {
	order := []string{"eth0", "eth1", "net2", "eth3", "eth10", "net11", "eth100"}
	for _, id := range []string{"c1", "c2", "a", "0123456789abcdef"} {
		last := names{}
		for i, ifName := range order {
			nm := namesOf("net"+strconv.Itoa(i%3), id, ifName, 0)
			if i > 0 && (nm.peer <= last.peer || nm.peer&255 <= last.peer&255) {
				t.Errorf("%s: %s has index %#x, after %#x", id, ifName, nm.peer, last.peer)
			}
			if nm.peer == namesOf("net"+strconv.Itoa(i%3), id, ifName, 1).peer {
				t.Errorf("%s: %s: the next attempt has the same index", id, ifName)
			}
			last = nm
		}
	}
	for _, ifName := range []string{"eth0", "wan", "eth255", "eth256", "eth99999999999999999", "0", "lan1.4094"} {
		for _, hash := range []uint32{0, 1, 1<<31 + 255, 1<<32 - 1} {
			if index := peerIndexOf(ifName, hash); index%2 != 1 || index < leastIndex || index >= 1<<31 {
				t.Errorf("%s: %#x", ifName, index)
			}
		}
	}
}

// A container's first address is that of its first interface, whatever its other networks.
func TestFirstInterfaceIsFirst(t *testing.T) {
	one := network(t, masqueraded)
	for _, id := range []string{"c1", "c2", "c3", "c4", "c5", "c6"} {
		a := attachment(t, id)
		for _, ifName := range []string{"eth0", "eth1", "eth10"} {
			n := *one
			n.name = one.name + ifName
			a.IfName = ifName
			if _, err := Attach(context.Background(), &n, a); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := Detach(context.Background(), &n, Attachment{ContainerID: id, IfName: ifName}); err != nil {
					t.Error(err)
				}
			}()
		}
		var got []string
		nstest.In(t, a.NetNS, func() {
			links, err := net.Interfaces()
			if err != nil {
				t.Error(err)
			}
			for _, l := range links {
				if l.Name != "lo" {
					got = append(got, l.Name)
				}
			}
		})
		if want := []string{"eth0", "eth1", "eth10"}; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}

// A link whose index an earlier version chose is the attachment's own.
func TestEarlierPeerIndex(t *testing.T) {
	nm := namesOf("net", "c1", "eth0", 0)
	d := detaching{network: &Network{name: "net"}, attachment: Attachment{ContainerID: "c1", IfName: "eth0"}}
	for index, want := range map[int]bool{nm.peer: false, nm.index + 1: false, nm.index + 3: true, 7: false} {
		if got := d.isAnothers(index); got != want {
			t.Errorf("index %d is another's: %v", index, got)
		}
	}
}
