// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net"
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A container's first address is that of its first interface, whatever its other networks.
func TestFirstInterfaceIsFirst(t *testing.T) {
	one := network(t, masqueraded)
	for _, id := range []string{"c1", "c2", "c3", "c4", "c5", "c6"} {
		a := attachment(t, id)
		for _, ifName := range []string{"eth0", "eth1", "eth10"} {
			n := one.with(func(c *netconf.Network) { c.Name += ifName })
			a.IfName = ifName
			if _, err := Attach(context.Background(), n, a); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := Detach(context.Background(), n, Attachment{ContainerID: id, IfName: ifName}); err != nil {
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
