// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// legacyIn reads a namespace's table.
func legacyIn(t *testing.T, ns, name string, of netip.Addr) (table *LegacyTable) {
	t.Helper()
	nstest.In(t, ns, func() {
		var err error
		table, err = ReadLegacy(name, of)
		must(t, err)
	})
	return table
}

// TestLegacyStops: rules that iptables-legacy makes, and which packets they are sure to drop.
func TestLegacyStops(t *testing.T) {
	const drop = "iptables-legacy -P FORWARD DROP; "
	for _, c := range []struct{ name, made, stopped string }{
		{"nothing", "true", ""},
		{"a table without rules", "iptables-legacy -L", ""},
		{"policy", drop, "outward unknown inward"},
		{"policy of IPv6", "ip6tables-legacy -P FORWARD DROP", "outward6"},
		{"rule", "iptables-legacy -A FORWARD -j DROP", "outward unknown inward"},
		{"reject", "iptables-legacy -A FORWARD -j REJECT", "outward unknown inward"},
		{"established alone", drop + "iptables-legacy -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "outward unknown inward"},
		{"by source", drop + "iptables-legacy -A FORWARD -s 10.1.0.0/24 -j ACCEPT", ""},
		{"by another source", drop + "iptables-legacy -A FORWARD -s 10.1.1.0/24 -j ACCEPT", "outward unknown"},
		{"not by source", drop + "iptables-legacy -A FORWARD ! -s 10.1.0.0/24 -j ACCEPT", "outward unknown"},
		{"a container's", drop + "iptables-legacy -N CNI-FORWARD; iptables-legacy -A CNI-FORWARD -s 10.1.0.2 -j ACCEPT; iptables-legacy -A FORWARD -m comment --comment x -j CNI-FORWARD", "unknown"},
		{"by link", drop + "iptables-legacy -A FORWARD -i br+ -j ACCEPT; iptables-legacy -A FORWARD -o br0 -p tcp --dport 80 -j ACCEPT", ""},
		{"by port", drop + "iptables-legacy -A FORWARD -o br0 -p tcp --dport 81 -j ACCEPT; iptables-legacy -A FORWARD -p tcp -m multiport --dports 81,82 -j ACCEPT", "inward"},
		{"goto", drop + "iptables-legacy -N X; iptables-legacy -A X -s 10.1.0.9 -j RETURN; iptables-legacy -A X -j ACCEPT; iptables-legacy -A FORWARD -g X", "unknown"},
		{"of IPv6 by source", "ip6tables-legacy -P FORWARD DROP; ip6tables-legacy -N X; ip6tables-legacy -A X -s fd00:1::/64 -i br0 -j ACCEPT; ip6tables-legacy -A FORWARD -g X", ""},
		{"dnat", drop + "iptables-legacy -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT", "outward unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			nstest.Run(t, ns, "sh", "-e", "-c", c.made)
			var got []string
			for _, p := range []struct {
				name string
				Packet
			}{{"outward", outward}, {"unknown", unknown4}, {"outward6", outward6}, {"inward", inward}} {
				of := p.Src
				if !of.IsValid() {
					of = p.Dst
				}
				// The mark means nothing there, though nothing clears it between the two.
				if legacyIn(t, ns, "filter", of).Stops(p.Packet) {
					got = append(got, p.name)
				}
			}
			if strings.Join(got, " ") != c.stopped {
				t.Errorf("stopped: %v, want %s", got, c.stopped)
			}
		})
	}
}

// Reading makes nothing: the kernel would make a table for who asks for it.
func TestLegacyMakesNothing(t *testing.T) {
	ns := nstest.New(t, "host")
	addr := netip.MustParseAddr("10.1.0.2")
	for range 2 {
		if l := legacyIn(t, ns, "filter", addr); l != nil || l.Chains() != nil || l.Stops(outward) {
			t.Error("a table:", l)
		}
	}
	// A kernel that hasn't loaded ip_tables has no such files.
	names := nstest.Run(t, ns, "sh", "-c", "cat /proc/net/ip_tables_names /proc/net/ip6_tables_names 2>/dev/null || true")
	if names != "" {
		t.Error("tables:", names)
	}
	nstest.Run(t, ns, "sh", "-c", "iptables-legacy -t nat -N CNI-DN-x; iptables-legacy -t nat -N CNI-HOSTPORT-DNAT")
	if got := legacyIn(t, ns, "nat", addr).Chains(); len(got) != 2 || got[0] != "CNI-DN-x" {
		t.Errorf("chains %q", got)
	}
	if l := legacyIn(t, ns, "filter", addr); l != nil {
		t.Error("there's nat alone:", l)
	}
}
