// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// A chainedWorld is a host with a bridge, whose FORWARD drops, and c1 at it with 10.1.2.9 and
// fd00::9.
func chainedWorld(t *testing.T) *world {
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"ip link add br0 type bridge", "ip link set br0 up", "ip link add v1 index 50 type veth peer name eth0 netns c1", "ip link set v1 master br0 up",
		"iptables -P FORWARD DROP", "ip6tables -P FORWARD DROP"} {
		f := strings.Fields(line)
		w.must("", f[0], f[1:]...)
	}
	w.must("c1", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:01", "up")
	return w
}

const chainedPrev = `"prevResult":{"cniVersion":"VERSION","interfaces":[{"name":"br0","mac":"02:00:00:00:00:09"},{"name":"v1"},{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"/run/netns/c1"EXTRA}],` +
	`"ips":[{V4"interface":2,"address":"10.1.2.9/24","gateway":"10.1.2.1"},{V6"address":"fd00::9/64"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["1.1.1.1"]}}`

func chainedText(plugin, version, keys string) string {
	v4, v6, extra := "", "", `,"pciID":"254","socketPath":"/x"`
	if version < "1" {
		v4, v6, extra = `"version":"4",`, `"version":"6",`, ""
	}
	text := `{"cniVersion":"VERSION","name":"net","type":"` + plugin + `",` + keys + chainedPrev + `}`
	return strings.NewReplacer("VERSION", version, "V4", v4, "V6", v6, "EXTRA", extra).Replace(text)
}

// chainedCall calls a plugin of a directory for c1.
func (w *world) chainedCall(plugins, program, verb, args, conf string) answer {
	w.t.Helper()
	a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: []byte(conf), plugins: plugins, program: program, env: map[string]string{"CNI_ARGS": args}})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// TestChainedParity: both give the same results, make the same of the container's link and
// namespace, agree on CHECK, and leave the same behind.
func TestChainedParity(t *testing.T) {
	t.Parallel()
	tune := func(keys string) string { return keys + "," }
	for _, c := range []struct{ name, plugin, version, keys, args string }{
		{"firewall 0.4.0", "firewall", "0.4.0", "", ""},
		{"firewall 1.0.0", "firewall", "1.0.0", "", ""},
		{"firewall 1.1.0", "firewall", "1.1.0", tune(`"backend":"iptables"`), ""},
		{"firewall 0.3.1", "firewall", "0.3.1", "", ""},
		{"firewall policy", "firewall", "1.0.0", tune(`"ingressPolicy":"same-bridge"`), ""},
		{"firewall bad policy", "firewall", "1.0.0", tune(`"ingressPolicy":"x"`), ""},
		{"firewall admin chain", "firewall", "1.0.0", tune(`"iptablesAdminChainName":"MINE"`), ""},
		{"firewall any arguments", "firewall", "1.0.0", "", "FOO=bar"},
		{"tuning nothing", "tuning", "1.1.0", "", ""},
		{"tuning 0.3.1", "tuning", "0.3.1", tune(`"mac":"02:00:00:00:00:0a"`), ""},
		{"tuning 0.4.0", "tuning", "0.4.0", tune(`"mac":"02:00:00:00:00:0a"`), ""},
		{"tuning all", "tuning", "1.0.0", tune(`"mac":"02:00:00:00:00:0a","mtu":1400,"promisc":true,"allmulti":true,"txQLen":55,"sysctl":{"net.ipv4.conf.IFNAME.arp_filter":"1"}`), ""},
		{"tuning allmulti off", "tuning", "1.1.0", tune(`"allmulti":false,"txQLen":0`), ""},
		{"tuning sysctls", "tuning", "1.1.0", tune(`"sysctl":{"net.core.somaxconn":"99","net/ipv4/conf/eth0/arp_ignore":"1"},"args":{"cni":{"sysctl":{"net.core.somaxconn":"98"}}}`), ""},
		{"tuning MAC by CNI_ARGS", "tuning", "1.0.0", "", "MAC=02:00:00:00:00:0b"},
		{"tuning MAC by runtimeConfig", "tuning", "1.0.0", tune(`"mac":"02:00:00:00:00:0a","runtimeConfig":{"mac":"02:00:00:00:00:0c"}`), "IgnoreUnknown=1;MAC=02:00:00:00:00:0b"},
		{"tuning MAC by args", "tuning", "1.0.0", tune(`"args":{"cni":{"mac":"02:00:00:00:00:0d","mtu":1300}},"runtimeConfig":{"mac":"02:00:00:00:00:0c"},"mtu":1400`), ""},
		{"tuning unknown argument", "tuning", "1.0.0", "", "FOO=bar"},
		{"tuning bad MAC", "tuning", "1.0.0", tune(`"mac":"zz"`), ""},
		{"tuning bad sysctl", "tuning", "1.0.0", tune(`"sysctl":{"kernel.x":"1"}`), ""},
		{"tuning unknown sysctl", "tuning", "1.0.0", tune(`"sysctl":{"net.x":"1"}`), ""},
		{"tuning small MTU", "tuning", "1.0.0", tune(`"mtu":20`), ""},
		{"tuning 0.2.0", "tuning", "0.2.0", tune(`"mtu":1400`), ""},
		{"firewall odd routes", "firewall", "1.1.0", "", ""},
		{"tuning odd routes", "tuning", "1.1.0", tune(`"mac":"02:00:00:00:00:0a"`), ""},
		{"bandwidth odd routes", "bandwidth", "1.0.0", tune(`"ingressRate":8000,"ingressBurst":8000`), ""},
		{"firewall policy inside", "firewall", "1.0.0", tune(`"ingressPolicy":"same-bridge"`), ""},
		{"firewall isolation inside", "firewall", "1.0.0", tune(`"ingressPolicy":"isolated"`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conf := chainedText(c.plugin, c.version, c.keys)
			switch {
			case strings.HasSuffix(c.name, " odd routes"): // none of the plugins' concern
				conf = strings.Replace(conf, `{"dst":"0.0.0.0/0"}`, `{"dst":"0.0.0.0/0","scope":-1,"table":-1,"mtu":-1,"priority":-1,"advmss":-1},{"dst":"::/0","gw":"10.1.2.1","scope":256}`, 1)
			case strings.HasSuffix(c.name, " inside"):
				conf = strings.Replace(conf, `{"name":"br0","mac":"02:00:00:00:00:09"}`, `{"name":"eth0","sandbox":"/x"}`, 1)
			case c.version == "0.2.0":
				conf = `{"cniVersion":"0.2.0","name":"net","type":"tuning",` + c.keys + `"prevResult":{"ip4":{"ip":"10.1.2.9/24"},"dns":{}}}`
			}
			var seen [2][]string
			for i, plugins := range []string{referenceDir(), oursDir()} {
				w := chainedWorld(t)
				for _, verb := range []string{"ADD", "CHECK", "DEL", "DEL"} {
					if verb == "CHECK" && c.version < "0.4.0" {
						continue
					}
					a := w.chainedCall(plugins, c.plugin, verb, c.args, conf)
					seen[i] = append(seen[i], verb+": "+canonical(t, a), w.linkState())
				}
			}
			if seen[0][0] == "ADD: "+refused && seen[1][0] == seen[0][0] {
				return // the reference leaves its file behind
			}
			for i := range seen[0] {
				if seen[0][i] != seen[1][i] {
					t.Errorf("the reference's: %s\nours: %s", seen[0][i], seen[1][i])
				}
			}
		})
	}
}

// canonical is a result in a form to compare, and of a refusal only that it is one.
func canonical(t *testing.T, a answer) string {
	t.Helper()
	if a.status != 0 {
		return refused
	}
	if len(a.stdout) == 0 {
		return ""
	}
	var v any
	if err := json.Unmarshal(a.stdout, &v); err != nil {
		t.Fatalf("%v: %s", err, a.stdout)
	}
	if reflect.ValueOf(v).IsZero() {
		t.Fatalf("empty result: %s", a.stdout)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var ifindex = regexp.MustCompile(`(?m)^\d+: |@if\d+`)

// linkState is what tuning changes.
func (w *world) linkState() string {
	w.t.Helper()
	return ifindex.ReplaceAllString(w.must("c1", "ip", "-o", "link", "show", "eth0"), "") +
		w.must("c1", "sh", "-c", "cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/conf/eth0/arp_*; ls /run/cni/tuning 2>/dev/null || true")
}

// A node that was upgraded with containers running: DEL removes what the reference made, and one
// whose plugins are the reference's again can still give links back what they were.
func TestChainedUpgradeAndDowngrade(t *testing.T) {
	t.Parallel()
	w := chainedWorld(t)
	firewall, tuning := chainedText("firewall", "1.0.0", ""), chainedText("tuning", "1.0.0", `"mtu":1400,"promisc":true,`)
	before := w.linkState()
	for _, from := range []struct{ add, del string }{{referenceDir(), oursDir()}, {oursDir(), referenceDir()}, {oursDir(), oursDir()}} {
		for _, step := range []struct{ plugins, program, verb, conf string }{
			{from.add, "firewall", "ADD", firewall}, {from.add, "tuning", "ADD", tuning},
			{from.del, "tuning", "DEL", tuning}, {oursDir(), "firewall", "DEL", firewall}, // the reference's knows no element of ours
		} {
			if a := w.chainedCall(step.plugins, step.program, step.verb, "", step.conf); a.status != 0 {
				t.Fatalf("%s %s: %s", step.verb, step.program, a.stdout)
			}
		}
		if after := w.linkState(); after != before {
			t.Errorf("link is %s, was %s", after, before)
		}
		rules := w.must("", "sh", "-c", "iptables -S; ip6tables -S; nft list ruleset")
		if strings.Contains(rules, "10.1.2.9") || strings.Contains(rules, "fd00::9") || strings.Contains(rules, "net/c1/eth0") {
			t.Errorf("left:\n%s", rules)
		}
	}
}
