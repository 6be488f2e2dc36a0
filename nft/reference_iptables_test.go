// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// The name was seen to be made by the CNI project's bridge plugin 1.9.1, as it is by 1.10.0.
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
	if left, err := c.leftovers([]Owner{c1}); err != nil || len(left) != 2 || left[0].Owner == left[1].Owner {
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

// TestFirewallLeftovers has iptables make rules as the CNI project's firewall plugin does.
func TestFirewallLeftovers(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	lists := func() (got []string) {
		t.Helper()
		for l, err := range c.Leftovers(nil) {
			must(t, err)
			text := string(l.Kind) + ": " + l.Where + " " + l.Bridge
			if l.Addr.IsValid() {
				text += l.Addr.String()
			}
			got = append(got, text)
		}
		return got
	}
	if got := lists(); got != nil {
		t.Error("of nothing:", got)
	}
	must(t, c.Allow(Allowance{Owner: Owner{"mynet", "c1", "eth0"}, Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.7")}}))
	for program, addr := range map[string]string{"iptables-nft": "10.1.0.2/32", "ip6tables-nft": "fd00::2/128"} {
		run := func(args ...string) { nstest.Run(t, ns, program, append([]string{"-t", "filter"}, args...)...) }
		run("-L", "FORWARD")
		if program == "ip6tables-nft" { // the other one is our Open's
			run("-N", "CNI-FORWARD")
		}
		run("-A", "CNI-FORWARD", "-m", "comment", "--comment", adminComment, "-j", "RETURN")
		run("-A", "CNI-FORWARD", "-d", addr, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT")
		run("-A", "CNI-FORWARD", "-s", addr, "-j", "ACCEPT")
		for _, stage := range isolationStages {
			run("-N", stage)
			run("-A", "FORWARD", "-j", stage)
		}
		for _, bridge := range []string{"cni0", "a-bridge-of-15b"} {
			run("-A", isolationStages[0], "-i", bridge, "!", "-o", bridge, "-m", "comment", "--comment", firewallComment, "-j", isolationStages[1])
			run("-A", isolationStages[1], "-o", bridge, "-j", "DROP")
		}
		run("-A", isolationStages[0], "-j", "RETURN")
	}
	want := []string{
		"ingress policy: rules of ip filter CNI-ISOLATION-STAGE-1 cni0",
		"ingress policy: rules of ip filter CNI-ISOLATION-STAGE-1 a-bridge-of-15b",
		"ingress policy: rules of ip6 filter CNI-ISOLATION-STAGE-1 cni0",
		"ingress policy: rules of ip6 filter CNI-ISOLATION-STAGE-1 a-bridge-of-15b",
		"way through the firewall: rules of ip filter CNI-FORWARD 10.1.0.2",
		"way through the firewall: rules of ip6 filter CNI-FORWARD fd00::2",
	}
	if got := lists(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	nstest.Run(t, ns, "iptables-nft", "-t", "nat", "-N", "CNI-HOSTPORT-DNAT")
	if got := lists(); len(got) != 7 || got[0] != "ports: chain ip nat CNI-HOSTPORT-DNAT " {
		t.Error(got)
	}
	nstest.Run(t, ns, "iptables-nft", "-t", "nat", "-N", iptablesChain(referenceDNATFor, Owner{"mynet", "c1", "eth0"}))
	if got := lists(); len(got) != 7 || !strings.HasPrefix(got[0], "ports: chain ip nat CNI-DN-") {
		t.Error("a container's:", got)
	}
}
