// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A veth's other end is read by its own index, here and in another namespace, where other links may
// have that index.
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

// A link's peer is in one namespace: that another has a link of the same index proves nothing.
func TestPeerIn(t *testing.T) {
	host, inside, other := nstest.New(t, "host"), nstest.New(t, "inside"), nstest.New(t, "other")
	nstest.Run(t, host, "ip", "link", "add", "far", "index", "77", "type", "veth", "peer", "name", "eth0", "index", "88")
	nstest.Run(t, host, "ip", "link", "set", "eth0", "netns", inside)
	nstest.Run(t, other, "ip", "link", "add", "like", "index", "77", "type", "veth", "peer", "name", "alike", "index", "88")
	nstest.Run(t, inside, "ip", "link", "add", "near", "type", "veth", "peer", "name", "nearer")
	ns, err := OpenNetNS(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	c, err := Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, want := range []struct {
		link, in string
		index    int
	}{{"eth0", host, 77}, {"eth0", other, 0}, {"eth0", inside, 0}, {"near", host, 0}, {"near", inside, 0}} {
		l, err := c.Link(want.link)
		if err != nil {
			t.Fatal(err)
		}
		in, err := OpenNetNS(want.in)
		if err != nil {
			t.Fatal(err)
		}
		if index, err := c.PeerIn(in, l); err != nil || index != want.index {
			t.Errorf("%s has its peer in %s as %d, %v, want %d", want.link, want.in, index, err, want.index)
		}
		in.Close()
	}
}
