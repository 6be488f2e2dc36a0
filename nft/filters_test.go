// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// outward is what a container sends, and inward what comes for a published port of it.
var (
	outward  = Packet{In: "br0", Src: netip.MustParseAddr("10.1.0.2"), Allowed: true}
	unknown4 = Packet{In: "br0", Src: netip.MustParseAddr("10.1.0.9")}
	outward6 = Packet{In: "br0", Src: netip.MustParseAddr("fd00:1::2"), Allowed: true}
	inward   = Packet{In: "up0", Out: "br0", Dst: netip.MustParseAddr("10.1.0.2"), Protocol: TCP, Port: 80, DNAT: true}
)

const forwardDrop = "iptables -P FORWARD DROP; "

// TestFiltersStop: rules that the real programs make, and which of four packets they are sure to
// drop.
func TestFiltersStop(t *testing.T) {
	for _, c := range []struct{ name, made, stopped string }{
		{"nothing", "", ""},
		{"policy", forwardDrop, "outward unknown inward"},
		{"policy of ours", forwardDrop + "ip6tables -P FORWARD DROP; OPEN", "unknown inward"},
		{"rule", "iptables -A FORWARD -j DROP", "outward unknown inward"},
		{"reject", "iptables -A FORWARD -j REJECT", "outward unknown inward"},
		{"established alone", forwardDrop + "iptables -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "outward unknown inward"},
		{"state alone", forwardDrop + "iptables -A FORWARD -m state --state ESTABLISHED -j ACCEPT", "outward unknown inward"},
		{"icmp alone", forwardDrop + "iptables -A FORWARD -p icmp -j ACCEPT", "inward"},
		{"dnat", forwardDrop + "iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT", "outward unknown"},
		{"by source", forwardDrop + "iptables -A FORWARD -s 10.1.0.0/24 -j ACCEPT", ""},
		{"by another source", forwardDrop + "iptables -A FORWARD -s 10.1.1.0/24 -j ACCEPT", "outward unknown"},
		{"by bridge", forwardDrop + "iptables -A FORWARD -i br0 -j ACCEPT; iptables -A FORWARD -o br0 -p tcp --dport 80 -j ACCEPT", ""},
		{"by bridges", forwardDrop + "iptables -A FORWARD -i br+ -j ACCEPT", "inward"},
		{"by other bridges", forwardDrop + "iptables -A FORWARD -i brx -j ACCEPT; iptables -A FORWARD -o br+ ! -i br+ -p tcp --dport 81 -j ACCEPT", "outward unknown inward"},
		{"ports", forwardDrop + "iptables -A FORWARD -p tcp -m multiport --dports 79,80 -j ACCEPT", ""},
		{"other ports", forwardDrop + "iptables -A FORWARD -p tcp -m multiport --dports 79,81 -j ACCEPT; iptables -A FORWARD -p udp --dport 80 -j ACCEPT", "inward"},
		{"not returned", forwardDrop + "iptables -N X; iptables -A X -s 10.1.0.2 -j RETURN; iptables -A X -j ACCEPT; iptables -A FORWARD -j X", "outward"},
		{"a chain's end", "iptables -N X; iptables -N Y; iptables -A X -s 10.1.0.9 -g Y; iptables -A X -j ACCEPT; iptables -A FORWARD -j X; iptables -A FORWARD -j DROP", "unknown"},
		{"a mark of others", forwardDrop + "iptables -A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT", ""},
		{"log", forwardDrop + "iptables -A FORWARD -m limit --limit 3/min -j LOG", "outward unknown inward"},
		{"native", "nft 'table inet f { chain c { type filter hook forward priority 0; policy drop; ct state vmap { established : accept, related : accept, invalid : drop }; ct status dnat accept; }; }'; OPEN", "outward unknown outward6"},
		{"native sets", "nft 'table inet f { chain c { type filter hook forward priority 0; policy drop; tcp dport { 80, 443 } accept; iifname { br0, br1 } accept; }; }'", ""},
		{"native other sets", "nft 'table inet f { chain c { type filter hook forward priority 0; policy drop; tcp dport { 81, 443 } accept; iifname . ip saddr { br0 . 10.1.0.9 } accept; }; }'", "inward"},
		{"dormant", "nft 'table inet f { flags dormant; chain c { type filter hook forward priority 0; policy drop; }; }'", ""},
		{"another hook", "nft 'table inet f { chain c { type filter hook input priority 0; policy drop; }; }'", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			conn := dial(t, ns)
			for _, line := range strings.Split(c.made, ";;") {
				line, open := strings.CutSuffix(line, "OPEN")
				nstest.Run(t, ns, "sh", "-e", "-c", line)
				if open {
					must(t, conn.Allow(allowance("c1", "10.1.0.2", "fd00:1::2")))
				}
			}
			f, err := conn.Filters()
			must(t, err)
			var got []string
			for _, p := range []struct {
				name string
				Packet
			}{{"outward", outward}, {"unknown", unknown4}, {"outward6", outward6}, {"inward", inward}} {
				if _, stopped := f.Stops(p.Packet); stopped {
					got = append(got, p.name)
				}
			}
			want := strings.Fields(c.stopped)
			if strings.Join(got, " ") != strings.Join(sortedAs(got, want), " ") {
				t.Errorf("stopped: %v, want %v\n%s", got, want, list(t, ns))
			}
		})
	}
}

// sortedAs puts want into the order that got has, if it's the same.
func sortedAs(got, want []string) []string {
	if len(got) != len(want) {
		return want
	}
	for _, w := range want {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+w+" ") {
			return want
		}
	}
	return got
}

// TestFiltersTranslate: destinations that others give what is for port 8080 of the host.
func TestFiltersTranslate(t *testing.T) {
	to := Packet{Dst: netip.MustParseAddr("192.0.2.2"), Protocol: TCP, Port: 8080}
	for _, c := range []struct {
		name, made string
		want       bool
	}{
		{"nothing", "", false},
		{"docker", "iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80", true},
		{"docker's other port", "iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER; iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:8080", false},
		{"the reference", "iptables -t nat -N CNI-DN-x; iptables -t nat -A PREROUTING -p tcp -m multiport --dports 8080 -j CNI-DN-x; iptables -t nat -A CNI-DN-x -p tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80", true},
		{"a node port", "iptables -t nat -N SVC; iptables -t nat -N SEP; iptables -t nat -A PREROUTING -p tcp --dport 8080 -j SVC; iptables -t nat -A SVC -m statistic --mode random --probability 0.5 -j SEP; iptables -t nat -A SEP -p tcp -j DNAT --to-destination 10.1.0.9:80", true},
		{"a cluster IP", "iptables -t nat -A PREROUTING -d 10.96.0.10 -p tcp --dport 8080 -j DNAT --to-destination 10.1.0.9:80", false},
		{"redirect", "iptables -t nat -A PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 3128", true},
		{"every port", "iptables -t nat -A PREROUTING -s 10.7.0.0/16 -j DNAT --to-destination 10.1.0.9", false},
		{"native", "nft 'table ip n { chain c { type nat hook prerouting priority -100; tcp dport 8080 dnat to 10.1.0.9:80; }; }'", true},
		{"native map", "nft 'table ip n { chain svc { meta l4proto tcp dnat to 10.1.0.9:80; }; chain c { type nat hook prerouting priority -100; ip daddr . meta l4proto . th dport vmap { 192.0.2.2 . tcp . 8080 : goto svc }; }; }'", true},
		{"native map of others", "nft 'table ip n { chain svc { meta l4proto tcp dnat to 10.1.0.9:80; }; chain c { type nat hook prerouting priority -100; ip daddr . meta l4proto . th dport vmap { 10.96.0.10 . tcp . 8080 : goto svc, 192.0.2.2 . tcp . 8081 : goto svc }; }; }'", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			conn := dial(t, ns)
			nstest.Run(t, ns, "sh", "-e", "-c", c.made)
			f, err := conn.Filters()
			must(t, err)
			got := f.Translates(to)
			if (got != "") != c.want {
				t.Errorf("got %q\n%s", got, list(t, ns))
			}
			if c.want {
				nstest.Run(t, ns, "sh", "-c", "nft delete rule "+got)
				f, err = conn.Filters()
				must(t, err)
				if got := f.Translates(to); got != "" {
					t.Errorf("%q after the rule has gone", got)
				}
			}
		})
	}
}
