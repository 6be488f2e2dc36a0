// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A chainCase is a list of configurations that a runtime goes through for c1. What's seen must be
// equal by the reference's plugins and ours, after ADD and after DEL.
type chainCase struct {
	name  string
	args  string // CNI_ARGS
	confs []string
}

func ptpConf(version, keys, ipam string) string {
	return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"ptp","ipMasqBackend":"nftables"%s,"ipam":{%s}}`, version, keys, ipam)
}

const (
	ptp4    = `"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]`
	ptpDual = `"type":"host-local",` + dual + `,"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"},{"dst":"192.168.0.0/16","gw":"10.1.2.7"}]`
)

func chainCases() []chainCase {
	next := func(plugin, keys string) string {
		return `{"cniVersion":"1.1.0","name":"net","type":"` + plugin + `"` + keys + `}`
	}
	static := func(version, ipam, keys string) string {
		return fmt.Sprintf(`{"cniVersion":%q,"name":"net","type":"static","ipam":{"type":"static"%s}%s}`, version, ipam, keys)
	}
	two := `,"addresses":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"},{"address":"fd00:1::9/64"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"0.0.0.0/0","gw":"10.1.2.7"}],"dns":{"nameservers":["1.1.1.1"]}`
	list := []chainCase{
		{name: "ptp IPv4", confs: []string{ptpConf("1.1.0", ``, ptp4)}},
		{name: "ptp dual stack", confs: []string{ptpConf("1.1.0", `,"mtu":1400,"dns":{"nameservers":["1.1.1.1"]}`, ptpDual)}},
		{name: "ptp static", confs: []string{ptpConf("1.1.0", ``, `"type":"static"`+two)}, args: "IP=10.3.0.2/16;GATEWAY=10.3.0.1"},
		{name: "ptp without ipam", confs: []string{`{"cniVersion":"1.1.0","name":"net","type":"ptp"}`}},
		{name: "ptp without addresses", confs: []string{ptpConf("1.1.0", ``, `"type":"static"`)}},
		{name: "ptp delegated", confs: []string{ptpConf("1.1.0", `,"mtu":1400,"ipMasq":true`, `"type":"fake-ipam","answer":{"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],
			"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"10.1.2.1","priority":7}],"dns":{"nameservers":["10.1.2.1"]}}`)}},
		{name: "ptp delegated dual stack", confs: []string{ptpConf("0.4.0", ``, `"type":"fake-ipam","answer":{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24","gateway":"10.1.2.1"},
			{"version":"6","address":"fd00:1::9/64","gateway":"fd00:1::1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`)}},
		{name: "ptp delegated without addresses", confs: []string{ptpConf("1.1.0", ``, `"type":"fake-ipam","answer":{"ips":[]}`)}},
		{name: "sbr after a delegate", confs: []string{l3ipam(`,"isGateway":true`, `"type":"fake-ipam","answer":{"ips":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],
			"routes":[{"dst":"0.0.0.0/0"},{"dst":"10.9.0.0/16","gw":"0.0.0.0","scope":253}]}`), next("sbr", ``)}},
		{name: "bridge static", confs: []string{l3ipam(`,"isDefaultGateway":true`, `"type":"static"`+two)}},
		{name: "bandwidth both", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"ingressRate":8000000,"ingressBurst":800000,"egressRate":16000000,"egressBurst":1600000`)}},
		{name: "bandwidth odd", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"ingressRate":1234567,"ingressBurst":7654321,"egressRate":99,"egressBurst":1111`)}},
		{name: "bandwidth fast", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"ingressRate":100000000000,"ingressBurst":800000000`)}},
		{name: "bandwidth by runtimeConfig", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"runtimeConfig":{"bandwidth":{"egressRate":8000,"egressBurst":8000}}`)}},
		{name: "bandwidth zero", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"ingressRate":0,"ingressBurst":0`)}},
		{name: "bandwidth rate alone", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"ingressRate":8`)}},
		{name: "bandwidth burst too large", confs: []string{ptpConf("1.1.0", ``, ptp4), next("bandwidth", `,"egressRate":8,"egressBurst":34359738360`)}},
		{name: "sbr after ptp", confs: []string{ptpConf("1.1.0", ``, ptp4), next("sbr", ``)}},
		{name: "sbr after bridge", confs: []string{l3(`,"isGateway":true`, subnet4+`,"routes":[{"dst":"0.0.0.0/0"},{"dst":"192.168.0.0/16","gw":"10.1.2.7"}]`), next("sbr", ``)}},
		{name: "sbr with a table", confs: []string{l3(`,"isGateway":true`, subnet4), next("sbr", `,"table":500`)}},
		{name: "all of them", confs: []string{ptpConf("1.1.0", `,"ipMasq":true`, ptp4), next("bandwidth", `,"egressRate":8000000,"egressBurst":800000`), next("sbr", ``)}},
		{name: "static by args", confs: []string{static("1.1.0", two, `,"args":{"cni":{"ips":["10.7.0.2/24"]}}`)}},
		{name: "static by runtimeConfig", confs: []string{static("1.1.0", two, `,"args":{"cni":{"ips":["10.7.0.2/24"]}},"runtimeConfig":{"ips":["10.8.0.2/24"]}`)}},
		{name: "static without lengths", confs: []string{static("1.1.0", two, `,"runtimeConfig":{"ips":["10.8.0.2"]}`)}},
		{name: "static of nothing", confs: []string{static("1.1.0", ``, ``)}},
		{name: "static by CNI_ARGS", confs: []string{static("1.1.0", two, ``)}, args: "IgnoreUnknown=1;IP=10.3.0.2/16,fd03::2/64;GATEWAY=10.3.0.1,10.1.2.8;X=y"},
		{name: "static with a gateway of the other family", confs: []string{l3ipam(``, `"type":"static","addresses":[{"address":"10.1.2.9/24"},{"address":"fd00:1::9/64","gateway":"10.1.2.1"}],"routes":[{"dst":"0.0.0.0/0"}]`)}},
		{name: "sbr with others' addresses", confs: []string{`{"cniVersion":"1.1.0","name":"net","type":"loopback"}`, next("sbr", `,"table":500`)}},
		{name: "static of any type", confs: []string{ipamAlone("static", `"type":"other"`+two, ``)}},
		{name: "static without a type", confs: []string{ipamAlone("static", `"x":1`+two, `,"mtu":"x","dns":"x","isGateway":"x","chain":"x","queues":"x","ipMasqBackend":7,"runtimeConfig":{"mac":7}`)}},
		{name: "static with empty arguments", confs: []string{static("1.1.0", two, ``)}, args: "IP=;GATEWAY="},
		{name: "host-local", confs: []string{ipamAlone("host-local", `"type":"host-local",`+dual, ``)}},
		{name: "host-local of any type", confs: []string{ipamAlone("host-local", `"type":"static",`+dual, ``)}},
		{name: "host-local without a type", confs: []string{ipamAlone("host-local", dual, `,"mtu":"x","dns":"x","isGateway":"x","chain":"x","queues":"x","ipMasqBackend":7,"runtimeConfig":{"mac":7}`)}},
		{name: "host-local without ipam", confs: []string{`{"cniVersion":"1.1.0","name":"net","type":"host-local"}`}},
		{name: "host-local with empty arguments", confs: []string{ipamAlone("host-local", dual, ``)}, args: "IP="},
		{name: "static unknown argument", confs: []string{static("1.1.0", two, ``)}, args: "X=y"},
	}
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		list = append(list, chainCase{name: "ptp " + v, confs: []string{ptpConf(v, ``, ptp4)}}, chainCase{name: "static " + v, confs: []string{static(v, two, ``)}})
		if v >= "0.3" {
			bandwidth := strings.Replace(next("bandwidth", `,"egressRate":8000,"egressBurst":8000`), "1.1.0", v, 1)
			list = append(list, chainCase{name: "bandwidth " + v, confs: []string{ptpConf(v, ``, ptp4), bandwidth, strings.Replace(next("sbr", ``), "1.1.0", v, 1)}})
		}
	}
	return list
}

// ipamAlone is a configuration that an IPAM plugin is called with by some other plugin.
func ipamAlone(program, ipam, keys string) string {
	return fmt.Sprintf(`{"cniVersion":"1.1.0","name":"net","type":%q,"ipam":{%s}%s}`, program, ipam, keys)
}

// l3ipam is a bridge's configuration with any IPAM.
func l3ipam(keys, ipam string) string { return fmt.Sprintf(base, keys+`,"ipam":{`+ipam+`}`) }

func TestChainParity(t *testing.T) {
	t.Parallel()
	for _, c := range chainCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			theirs, ours := c.run(t, referenceDir(), referenceDir()), c.run(t, oursDir(), oursDir())
			for i := range theirs {
				if strings.HasPrefix(theirs[i], "CHECK") && strings.HasSuffix(theirs[i], refused) && !strings.HasSuffix(ours[i], refused) {
					continue // it looks in the main table alone for what sbr has moved
				}
				if theirs[i] != ours[i] {
					t.Errorf("reference (-) and ours (+)\n%s", difference(theirs[i], ours[i]))
				}
				if strings.HasSuffix(theirs[i], refused) {
					break // the reference leaves what it did before it failed
				}
			}
		})
	}
}

// A container that the reference attached is found right and detached by ours, and ours detached by
// the reference.
func TestChainUpgradeAndDowngrade(t *testing.T) {
	t.Parallel()
	for _, c := range chainCases() {
		if c.name != "all of them" && c.name != "ptp dual stack" && c.name != "sbr after bridge" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for i, seen := range [][]string{c.run(t, referenceDir(), oursDir()), c.run(t, oursDir(), referenceDir())} {
				for _, s := range seen {
					if strings.HasSuffix(s, refused) && (i == 0 || !strings.HasPrefix(s, "CHECK")) {
						t.Error(s)
					}
				}
				last := seen[len(seen)-1]
				if strings.Contains(last, "tbf") || strings.Contains(last, ": bwp") || strings.Contains(last, "lookup 1") || strings.Contains(last, "dev HOST-END scope") {
					t.Error("left behind:", last)
				}
			}
		})
	}
}

// run takes c1 through its life, and tells what was seen after each step.
func (c *chainCase) run(t *testing.T, add, del string) (seen []string) {
	w := newWorld(t, t.TempDir())
	fake := filepath.Join(w.dir, "fake")
	if err := errors.Join(w.netns("c1"), linkFakeIPAM(fake)); err != nil {
		t.Fatal(err)
	}
	var result []byte
	step := func(plugins, verb, conf string, prev []byte) bool {
		if prev != nil {
			text, err := withKey([]byte(conf), "prevResult", prev)
			if err != nil {
				t.Fatal(err)
			}
			conf = string(text)
		}
		a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: []byte(conf), plugins: plugins, bare: true,
			env: map[string]string{"CNI_ARGS": c.args, "CNI_PATH": plugins + ":" + fake}})
		if err != nil {
			t.Fatal(err)
		}
		title := verb + " " + keysOf([]byte(conf)).Type + ": "
		if a.status != 0 {
			t.Logf("%s%s", title, a.stdout)
			seen = append(seen, title+refused)
			return false
		}
		if verb == "ADD" {
			result = a.stdout
		}
		seen = append(seen, title+chainNormal(t, a.stdout))
		return true
	}
	for i, conf := range c.confs {
		prev := result
		if i == 0 {
			prev = nil
		}
		if !step(add, "ADD", conf, prev) {
			return seen
		}
	}
	seen = append(seen, chainState(w, result))
	version := keysOf([]byte(c.confs[0])).Version
	if version >= "0.4" {
		for _, conf := range c.confs {
			step(del, "CHECK", conf, result)
		}
	}
	final := result
	if version < "0.4" {
		final = nil
	}
	for i := len(c.confs) - 1; i >= 0; i-- {
		step(del, "DEL", c.confs[i], final)
	}
	return append(seen, chainState(w, result))
}

// chainNormal is a result without what each side chooses in its own way.
func chainNormal(t *testing.T, stdout []byte) string {
	var r struct{ Interfaces []struct{ Name, MAC string } }
	text := legacyGateway.ReplaceAllString(string(stdout), "$1")
	if len(stdout) > 0 {
		// Ours passes a result on as it came, the reference prints it anew.
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(text), "", "    "); err != nil {
			t.Fatal(err)
		}
		text = b.String()
	}
	if json.Unmarshal(stdout, &r) == nil {
		for _, l := range r.Interfaces {
			text = strings.ReplaceAll(text, `"`+l.MAC+`"`, `"MAC"`)
		}
	}
	return vethName.ReplaceAllString(text, "HOST-END")
}

var (
	vethName = regexp.MustCompile(`veth[0-9a-f]{8}`)
	// The reference's filter has two redirections, the second one never reached. The kernel's own
	// route to an IPv6 address comes up in its own time.
	chosen = regexp.MustCompile(`(?m)^filter .*\n|^\s*action order 2:.*\n|\\\s+alias \S+|^local fd.*\n| linkdown\b|link/ether \S+|\(?refcnt \d+|flowid \S+|\*flowid|not_in_hw|index \d+ ref \d+ bind \d+|(ref|bind|installed|used) \d+( sec)?|proto 211|\bproto (kernel|boot)`)
)

// chainState is what the plugins made of c1, the host and what lies between.
func chainState(w *world, result []byte) string {
	var b strings.Builder
	show := func(name, program string, args ...string) {
		out, err := w.exec(name, program, args...)
		if err != nil {
			out = ""
		}
		out = chosen.ReplaceAllString(vethName.ReplaceAllString(out, "HOST-END"), "")
		for _, line := range tidy(out) {
			fmt.Fprintf(&b, "%s %s: %s\n", name, vethName.ReplaceAllString(strings.Join(args, " "), "HOST-END"), line)
		}
	}
	for _, family := range []string{"-4", "-6"} {
		show("c1", "ip", family, "-o", "address", "show", "dev", "eth0", "scope", "global")
		show("c1", "ip", family, "rule")
		show("c1", "ip", family, "route", "show", "table", "all")
		show("", "ip", family, "-o", "address", "show", "scope", "global")
		show("", "ip", family, "route")
	}
	var r struct {
		Interfaces []struct{ Name, Sandbox string }
	}
	_ = json.Unmarshal(result, &r)
	for _, l := range r.Interfaces {
		if l.Sandbox == "" && l.Name != "br0" {
			show("", "tc", "qdisc", "show", "dev", l.Name)
			show("", "tc", "filter", "show", "dev", l.Name, "ingress")
		}
	}
	show("", "ip", "-o", "link", "show", "type", "ifb")
	show("", "grep", "-r", "", "/var/lib/cni/networks/net")
	show("c1", "cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify")
	return b.String()
}
