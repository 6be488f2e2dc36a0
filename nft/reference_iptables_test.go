// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/swiftcni/swiftcni/internal/nstest"
)

// The name was seen to be made by the CNI project's bridge plugin 1.9.1.
func TestIPTablesChain(t *testing.T) {
	if got, want := iptablesChain(referencePrefix, Owner{"mynet", "c1", "eth0"}), "CNI-f0bca4ac77cde1bf2f3da5df"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// iptables makes rules as that plugin does, for c1 twice on one network and for c2.
func loadIPTables(t *testing.T, ns string) {
	t.Helper()
	for _, a := range []struct{ container, addr string }{{"c1", "10.1.0.2"}, {"c1", "10.1.0.3"}, {"c2", "10.1.0.4"}} {
		chain, comment := iptablesChain(referencePrefix, Owner{"mynet", a.container, "eth0"}), fmt.Sprintf("name: %q id: %q", "mynet", a.container)
		_ = nstest.Command(ns, "iptables-nft", "-t", "nat", "-N", chain).Run() // the second time it's there
		for _, rule := range [][]string{
			{chain, "-d", "10.1.0.0/24", "-m", "comment", "--comment", comment, "-j", "ACCEPT"},
			{chain, "!", "-d", "224.0.0.0/4", "-m", "comment", "--comment", comment, "-j", "MASQUERADE"},
			{"POSTROUTING", "-s", a.addr, "-m", "comment", "--comment", comment, "-j", chain},
		} {
			nstest.Run(t, ns, "iptables-nft", append([]string{"-t", "nat", "-A"}, rule...)...)
		}
	}
}

func TestDetachIPTables(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	c1 := Owner{"mynet", "c1", "eth0"}
	must(t, c.DetachIPTables(c1, []netip.Addr{netip.MustParseAddr("10.1.0.2")})) // nothing there
	loadIPTables(t, ns)
	if left, err := c.Leftovers([]Owner{c1}); err != nil || len(left) != 2 || left[0].Owner == left[1].Owner {
		t.Errorf("leftovers are %v, %v", left, err)
	}
	chain := iptablesChain(referencePrefix, c1)
	must(t, c.DetachIPTables(c1, []netip.Addr{netip.MustParseAddr("10.1.0.2")}))
	l := list(t, ns)
	wants(t, l, false, "10.1.0.2 ")
	wants(t, l, true, chain, "10.1.0.3 ", "10.1.0.4 ")
	must(t, c.DetachIPTables(c1, []netip.Addr{netip.MustParseAddr("10.1.0.3")}))
	l = list(t, ns)
	wants(t, l, false, chain, "10.1.0.3 ")
	wants(t, l, true, "10.1.0.4 ", iptablesChain(referencePrefix, Owner{"mynet", "c2", "eth0"}))
	nstest.Run(t, ns, "iptables-nft", "-t", "nat", "-S") // which still reads its table
	must(t, c.DetachIPTables(c1, nil))
}
