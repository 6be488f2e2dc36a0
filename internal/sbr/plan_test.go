// SPDX-License-Identifier: Apache-2.0

package sbr

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/rtnl"
)

// route reads "DST [via GATEWAY] [src SOURCE]".
func route(text string) rtnl.Route {
	w := strings.Fields(text)
	r := rtnl.Route{Link: 2, Dst: netip.MustParsePrefix(w[0])}
	for i := 1; i < len(w); i += 2 {
		switch a := netip.MustParseAddr(w[i+1]); w[i] {
		case "via":
			r.Gateway = a
		case "src":
			r.Src = a
		}
	}
	return r
}

// lines are a batch's changes.
func lines(fill func(*rtnl.Batch)) (list []string) {
	var b rtnl.Batch
	fill(&b)
	for line := range strings.Lines(b.String()) {
		list = append(list, strings.TrimSuffix(line, "\n"))
	}
	return list
}

func TestPlan(t *testing.T) {
	ips := []spec.IP{
		{Address: netip.MustParsePrefix("10.6.1.2/24"), Gateway: netip.MustParseAddr("10.6.1.1")},
		{Address: netip.MustParsePrefix("fd00:6::2/64"), Gateway: netip.IPv6Unspecified()},
	}
	main := []string{"10.6.1.0/24 src 10.6.1.2", "0.0.0.0/0 via 10.6.1.1", "10.9.0.0/16 via 10.7.0.1", "10.8.0.0/16 src 10.7.0.2", "fd00:6::/64", "fe80::/64"}
	for name, tt := range map[string]struct {
		keys          string
		adds, removes []string
	}{
		// What belongs to no address stays, as does the link-local subnet of IPv6, though a copy
		// goes to the table.
		"as usual": {"",
			[]string{"append route 10.6.1.0/24 dev 2 table 100 src 10.6.1.2", "append route fd00:6::/64 dev 2 table 101", "append route fe80::/64 dev 2 table 101",
				"append route default via 10.6.1.1 dev 2 table 100", "create rule from 10.6.1.2/32 lookup 100 proto 211", "create rule from fd00:6::2/128 lookup 101 proto 211"},
			[]string{"delete route fd00:6::/64 dev 2", "delete route default via 10.6.1.1 dev 2", "delete route 10.6.1.0/24 dev 2 src 10.6.1.2"}},
		// The configuration's gateway replaces the default route, and that of a family without one
		// is made.
		"gateways": {`,"gateways":["fd00:6::7","10.6.1.7"]`,
			[]string{"append route 10.6.1.0/24 dev 2 table 100 src 10.6.1.2", "append route fd00:6::/64 dev 2 table 101", "append route fe80::/64 dev 2 table 101",
				"append route default via 10.6.1.7 dev 2 table 100", "append route default via fd00:6::7 dev 2 table 101",
				"create rule from 10.6.1.2/32 lookup 100 proto 211", "create rule from fd00:6::2/128 lookup 101 proto 211"},
			[]string{"delete route fd00:6::/64 dev 2", "delete route default via 10.6.1.1 dev 2", "delete route 10.6.1.0/24 dev 2 src 10.6.1.2"}},
		"source hints": {`,"addSourceHints":true`,
			[]string{"append route 10.6.1.0/24 dev 2 table 100 src 10.6.1.2", "append route fd00:6::/64 dev 2 table 101", "append route fe80::/64 dev 2 table 101",
				"append route default via 10.6.1.1 dev 2 table 100", "create rule from 10.6.1.2/32 lookup 100 proto 211", "create rule from fd00:6::2/128 lookup 101 proto 211"},
			[]string{"delete route fd00:6::/64 dev 2", "delete route default via 10.6.1.1 dev 2", "append route fd00:6::/64 dev 2 src fd00:6::2"}},
		// The table's routes are somebody else's, so the rules are all.
		"a table": {`,"table":500`,
			[]string{"create rule from 10.6.1.2/32 lookup 500 proto 211", "create rule from fd00:6::2/128 lookup 500 proto 211"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := netconf.Read([]byte(`{"name":"net","type":"sbr"`+tt.keys+`}`), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			k := Read(n).(*Keys)
			if k.err != nil {
				t.Fatal(k.err)
			}
			var routes []rtnl.Route
			for _, text := range main {
				routes = append(routes, route(text))
			}
			tables := []uint32{100, 101}
			if k.table != 0 {
				tables = []uint32{k.table, k.table}
			}
			p := newPlan(k, ips, 2, routes, tables)
			for what, lists := range map[string][2][]string{
				"adds": {lines(p.adds), tt.adds}, "removes": {lines(p.removes), tt.removes},
			} {
				if !slices.Equal(lists[0], lists[1]) {
					t.Errorf("%s\n\t%s\nwant\n\t%s", what, strings.Join(lists[0], "\n\t"), strings.Join(lists[1], "\n\t"))
				}
			}
			// Each change is taken back by one of its own.
			undone, restored := lines(p.undo), lines(p.restore)
			if len(undone) != len(tt.adds) || len(restored) != len(tt.removes) {
				t.Errorf("undone by\n\t%s\nand restored by\n\t%s", strings.Join(undone, "\n\t"), strings.Join(restored, "\n\t"))
			}
		})
	}
}

func TestAddressesOfAnInterface(t *testing.T) {
	ip := func(addr string, of int) spec.IP {
		return spec.IP{Address: netip.MustParsePrefix(addr), Interface: of}
	}
	prev := &spec.Result{Interfaces: []spec.Interface{{Name: "eth0"}, {Name: "eth1"}},
		IPs: []spec.IP{ip("10.1.0.1/24", 0), ip("10.1.0.2/24", 1), ip("10.1.0.3/24", spec.NoInterface), ip("10.1.0.4/24", 7)}}
	var got []string
	for _, ip := range interfaceIPs(prev, "eth1") {
		got = append(got, ip.Address.Addr().String())
	}
	if want := []string{"10.1.0.2", "10.1.0.3", "10.1.0.4"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
