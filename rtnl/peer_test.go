// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/nstest"
)

// A veth's other end is read by its own index, here and in another namespace, where other links may have that index.
func TestPeer(t *testing.T) {
	host, inside := nstest.New(t, "host"), nstest.New(t, "inside")
	nstest.Run(t, host, "ip", "link", "add", "far", "address", "02:00:00:00:00:01", "type", "veth", "peer", "name", "eth0", "address", "02:00:00:00:00:02")
	nstest.Run(t, host, "ip", "link", "set", "eth0", "netns", inside)
	nstest.Run(t, host, "ip", "link", "add", "near", "type", "veth", "peer", "name", "nearer", "address", "02:00:00:00:00:03")
	var c *Conn
	var err error
	nstest.In(t, host, func() { c, err = Dial(nil) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string]string{"far": "eth0 02:00:00:00:00:02", "near": "nearer 02:00:00:00:00:03"} {
		l, err := c.Link(name)
		if err != nil {
			t.Fatal(err)
		}
		if p, err := c.Peer(l); err != nil || p.Name+" "+p.MAC.String() != want {
			t.Errorf("peer of %s is %s %s, %v, want %s", name, p.Name, p.MAC, err, want)
		}
	}
}
