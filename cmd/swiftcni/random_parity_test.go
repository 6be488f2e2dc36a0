// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	randomCases = flag.Int("cases", 12, "how many random configurations TestRandomParity tries")
	randomSeed  = flag.Uint64("seed", 1, "the first of its seeds, one a case")
)

// TestRandomParity gives random configurations to the reference and to ours, and compares results,
// the messages to the kernel, and leases. A configuration that the reference refuses may work here,
// but not the other way round.
//
//	go test ./cmd/swiftcni -run TestRandomParity -cases 1000 -seed 77
func TestRandomParity(t *testing.T) {
	t.Parallel()
	for i := range *randomCases {
		seed := *randomSeed + uint64(i)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			g := generator{rand.New(rand.NewPCG(seed, 0))}
			c := g.chain()
			theirs, ours := c.run(t, referenceDir(), referenceDir()), c.run(t, oursDir(), oursDir())
			if difference := c.stricter(theirs, ours); difference != "" {
				t.Errorf("-seed %d, CNI_ARGS %q:\n%s\nreference (-) and ours (+)\n%s", seed, c.args, strings.Join(c.confs, "\n"), difference)
			}
		})
	}
}

// stricter compares what was seen step by step, up to where the reference refuses something: what
// it did until then stays.
func (c *chainCase) stricter(theirs, ours []string) string {
	for i := range theirs {
		switch {
		case strings.HasSuffix(theirs[i], refused) && (strings.HasPrefix(theirs[i], "CHECK") || strings.HasPrefix(theirs[i], "DEL")):
			continue
		case strings.HasSuffix(theirs[i], refused):
			return ""
		}
		a, b := theirs[i], ours[i]
		if strings.Contains(a, `"ip4": {`) || strings.Contains(a, `"ip6": {`) {
			// In the form of 0.1.0 and 0.2.0 ours names the gateway of each route.
			a, b = routeGateway.ReplaceAllString(a, "$1"), routeGateway.ReplaceAllString(b, "$1")
		}
		if a != b {
			return difference(a, b)
		}
	}
	return ""
}

var routeGateway = regexp.MustCompile(`("dst": "[^"]*"),\s*"gw": "[^"]*"`)

// A generator makes up configurations. Most of what it writes is right, so that most of it is
// carried out.
type generator struct{ *rand.Rand }

// A choice is a key with the values that it may have, as JSON, and how often it's there, in a
// hundred.
type choice struct {
	key     string
	percent int
	values  string // with blanks between
}

var (
	sharedChoices = []choice{{"dns", 15, `{"nameservers":["1.1.1.1"]} {"domain":"a.b","search":["c"]} {}`},
		{"runtimeConfig", 20, `{"ips":["10.1.2.60/24"]} {"mac":"02:11:22:00:00:02"} {"ips":["10.1.1.60"],"ips":["10.1.1.61"]} {"mac":""} {"ipRanges":[[{"subnet":"10.1.7.0/24"}]]}`},
		{"args", 10, `{"cni":{"ips":["10.1.2.70"]}} {"cni":{"mac":"02:11:22:00:00:03"}} null {"cni":null}`}}
	linkChoices = []choice{{"ipMasq", 30, `true false`}, {"mtu", 15, `1400 1280 0 -1`}}
	bridgeOnly  = []choice{{"bridge", 100, `"br0"`}, {"isGateway", 40, `true false`}, {"isDefaultGateway", 30, `true false`}, {"forceAddress", 10, `true`},
		{"hairpinMode", 10, `true`}, {"promiscMode", 5, `true`}, {"portIsolation", 10, `true`}, {"vlan", 5, `0 -1 5000`}, {"macspoofchk", 5, `true`}}
	rangeChoices = []choice{{"subnet", 95, `"10.1.2.0/24" "10.1.1.0/24" "fd00:1::/64"`}, {"rangeStart", 15, `"10.1.2.50" "10.1.1.2" "fd00:1::50" null`},
		{"rangeEnd", 10, `"10.1.2.120" "10.1.1.200"`}, {"gateway", 15, `"10.1.2.1" "10.1.2.254" "10.1.1.99" "fd00:1::1" null`}}
	localChoices = []choice{{"ranges", 30, `[[{"subnet":"10.1.3.0/24"}]] [[{"subnet":"fd00:2::/64"}]] [[{"subnet":"10.1.4.0/24"},{"subnet":"10.1.5.0/24"}],[{"subnet":"fd00:3::/64"}]] []`},
		{"dataDir", 10, `"/run/leases" ""`}}
	staticChoices = []choice{{"addresses", 90, `[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}] [{"address":"10.1.2.9/24"},{"address":"fd00:1::9/64"}] [] [{"address":"10.1.2.9"}]`},
		{"dns", 20, `{"nameservers":["1.1.1.1"]}`}}
	routeChoices = [2][]choice{{{"dst", 99, `"0.0.0.0/0" "192.168.0.0/16" "10.9.0.0/16"`}, {"gw", 25, `"10.1.2.7" "10.1.2.8"`}},
		{{"dst", 99, `"::/0" "fd99::/64"`}, {"gw", 25, `"fd00:1::7"`}}}
	routeOptions = []choice{{"priority", 20, `0 5 77 null`}, {"table", 20, `0 7 200 254 null`}, {"scope", 15, `0 200 253 254`}}
	followers    = map[string][]choice{
		"portmap": {{"backend", 100, `"nftables"`}, {"snat", 20, `true false null`}, {"masqAll", 20, `true`}, {"markMasqBit", 15, `0 31 32 -1 null`},
			{"conditionsV4", 20, `["ip","saddr","10.0.0.0/8"] ["ip","saddr","!=","{","10.0.0.0/8,","192.168.0.0/16","}"] ["iifname","eth0"] []`},
			{"runtimeConfig", 85, `{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]} {"portMappings":[{"hostPort":53,"containerPort":53,"protocol":"udp","hostIP":"::"},{"hostPort":53,"containerPort":53,"protocol":"tcp"}]} {"portMappings":[]} ` +
				`{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"0.0.0.0"}]}`}},
		"firewall": {{"backend", 50, `"iptables"`}, {"ingressPolicy", 30, `"open" "" "same-bridge" "isolated" "x"`}, {"firewalldZone", 20, `"z"`}},
		"tuning": {{"mac", 30, `"02:11:22:00:00:0a" ""`}, {"mtu", 25, `1400 1300`}, {"promisc", 20, `true false`}, {"allmulti", 20, `true false`}, {"txQLen", 20, `55 0 1000`},
			{"sysctl", 30, `{"net.ipv4.conf.IFNAME.arp_filter":"1"} {"net/core/somaxconn":"99"} {}`}, {"args", 20, `{"cni":{"mac":"02:11:22:00:00:0d"}} {"cni":{"allmulti":true}} null`}},
		"bandwidth": {{"ingressRate", 40, `8000000`}, {"ingressBurst", 40, `800000`}, {"runtimeConfig", 50, `{"bandwidth":{"egressRate":8000,"egressBurst":8000}} {"bandwidth":{}} {"bandwidth":null}`}},
		"sbr":       {{"table", 20, `500 100 null`}, {"gateways", 10, `["10.1.2.7"] []`}, {"addSourceHints", 10, `true false`}},
	}
	wrongValues = strings.Fields(`"x" 7 true {"a":1} [1] null -1 ""`)
)

// object writes the members of an object, each after a comma.
func (g generator) object(choices ...[]choice) string {
	var b strings.Builder
	for _, list := range choices {
		for _, c := range list {
			if g.IntN(100) >= c.percent {
				continue
			}
			value := g.one(strings.Fields(c.values))
			if g.IntN(100) == 0 {
				value = g.one(wrongValues)
			}
			fmt.Fprintf(&b, `,"%s":%s`, c.key, value)
		}
	}
	return b.String()
}

func (g generator) one(list []string) string { return list[g.IntN(len(list))] }

func (g generator) routes() string {
	var list []string
	for range g.IntN(4) {
		if text := g.object(routeChoices[g.IntN(2)], routeOptions); text != "" {
			list = append(list, "{"+text[1:]+"}")
		}
	}
	return `,"routes":[` + strings.Join(list, ",") + `]`
}

func (g generator) ipam(kind string) string {
	text := `"type":"` + kind + `"`
	if kind == "static" {
		return text + g.object(staticChoices) + g.routes()
	}
	return text + g.object(rangeChoices, localChoices) + g.routes()
}

// chain makes up a main plugin and what follows it.
func (g generator) chain() *chainCase {
	version := g.one([]string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "1.1.0", "1.1.0", "1.1.0"})
	conf := func(plugin, keys string) string {
		return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":%q%s}`, version, plugin, keys)
	}
	ipam := `,"ipam":{` + g.ipam(g.one([]string{"host-local", "host-local", "host-local", "static"})) + `}`
	c := &chainCase{args: g.one([]string{"", "", "", "IgnoreUnknown=1;IP=", "IgnoreUnknown=1;IP=10.1.2.50;X=y", "IgnoreUnknown=true;MAC=02:11:22:00:00:01", "K=v"})}
	switch g.IntN(10) {
	case 0:
		kind := g.one([]string{"host-local", "static"})
		c.confs = append(c.confs, conf(kind, g.object(sharedChoices)+`,"ipam":{`+g.ipam(kind)+`}`))
	case 1, 2, 3:
		c.confs = append(c.confs, conf("ptp", g.object(sharedChoices, linkChoices)+`,"ipMasqBackend":"nftables"`+ipam))
	default:
		c.confs = append(c.confs, conf("bridge", g.object(sharedChoices, linkChoices, bridgeOnly)+`,"ipMasqBackend":"nftables"`+ipam))
	}
	for range g.IntN(3) {
		plugin := g.one([]string{"portmap", "firewall", "tuning", "bandwidth", "sbr"})
		if plugin == "sbr" && strings.Contains(c.confs[0], "::") {
			continue // the reference moves one family's routes to the other's table as well
		}
		c.confs = append(c.confs, conf(plugin, g.object(followers[plugin])))
	}
	return c
}
