// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestRouteTo(t *testing.T) {
	ns := nstest.New(t, "host")
	for _, line := range [][]string{
		{"link", "set", "lo", "up"}, {"link", "add", "d0", "type", "bridge"}, {"link", "set", "d0", "up"},
		{"addr", "add", "10.1.0.1/24", "dev", "d0"}, {"addr", "add", "fd00:1::1/64", "dev", "d0", "nodad"},
	} {
		nstest.Run(t, ns, "ip", line...)
	}
	// The kernel makes an IPv6 address's own route a little later.
	nstest.Run(t, ns, "timeout", "10", "sh", "-c", "until ip -6 route show table local | grep -q fd00:1::1; do sleep 0.01; done")
	var c *Conn
	var err error
	nstest.In(t, ns, func() { c, err = Dial(nil) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d0, err := c.Index("d0")
	if err != nil {
		t.Fatal(err)
	}
	type way struct {
		link  int
		local bool
	}
	for addr, want := range map[string]way{
		"10.1.0.2": {d0, false}, "10.1.0.1": {1, true}, "127.0.0.1": {1, true},
		"fd00:1::2": {d0, false}, "fd00:1::1": {1, true}, "::1": {1, true},
	} {
		link, local, err := c.RouteTo(netip.MustParseAddr(addr))
		got := way{link, local}
		if local && addr == "fd00:1::1" && link == d0 {
			got.link = 1 // the kernel tells the link that has the address
		}
		if err != nil || got != want {
			t.Errorf("to %s: got %+v, %v; want %+v", addr, got, err, want)
		}
	}
	if _, _, err := c.RouteTo(netip.MustParseAddr("192.0.2.1")); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("without a route: got %v, want ENETUNREACH", err)
	}
}
