// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net"
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

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
	nm := names.Of("net", "c1", "eth0", 0)
	d := detaching{network: &Network{name: "net"}, attachment: Attachment{ContainerID: "c1", IfName: "eth0"}}
	for index, want := range map[int]bool{nm.Peer: false, nm.Index + 1: false, nm.Index + 3: true, 7: false} {
		if got := d.isAnothers(index); got != want {
			t.Errorf("index %d is another's: %v", index, got)
		}
	}
}
