// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"slices"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A veth made here is listed by both of its ends wherever they have gone, until it's gone itself:
// with a namespace that has an end, however that one was held.
func TestLinksEverywhere(t *testing.T) {
	host, inside, router := nstest.New(t, "host"), nstest.New(t, "inside"), nstest.New(t, "router")
	var c *Conn
	var err error
	nstest.In(t, host, func() { c, err = Dial(nil) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list := func() (indexes []int) {
		t.Helper()
		for l, err := range c.LinksEverywhere(LinkFilter{Kind: "veth"}) {
			if err != nil {
				t.Fatal(err)
			}
			indexes = append(indexes, l.Index)
		}
		slices.Sort(indexes)
		return indexes
	}
	if got := list(); got != nil {
		t.Errorf("there are %v before any was made", got)
	}
	ns, err := OpenNetNS(inside)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	b.Create(Veth{Link: Link{Index: 20000000, Name: "far"}, Peer: Link{Index: 20000001, Name: "eth0", NetNS: ns}})
	if err := c.Do(&b); err != nil {
		t.Fatal(err)
	}
	both := []int{20000000, 20000001}
	if got := list(); !slices.Equal(got, both) {
		t.Errorf("made: %v", got)
	}
	own, err := OpenNetNS(host)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if err := c.Number(own); err != nil {
		t.Fatal(err)
	}
	if got := list(); !slices.Equal(got, both) {
		t.Errorf("with a number of its own: %v", got)
	}
	nstest.Run(t, host, "ip", "link", "set", "far", "name", "other", "address", "02:00:00:00:00:09")
	nstest.Run(t, host, "ip", "link", "set", "other", "netns", router)
	if got := list(); !slices.Equal(got, both) {
		t.Errorf("the host end moved to another namespace: %v", got)
	}
	nstest.Remove(inside) // the handle holds it still
	if got := list(); !slices.Equal(got, both) {
		t.Errorf("the path is gone: %v", got)
	}
	ns.Close()
	for deadline := time.Now().Add(time.Minute); list() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the namespace is gone: %v", list())
		}
	}
}
