// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// portmapCall calls portmap of a directory of plugins for c1.
func (w *world) portmapCall(plugins, verb, conf string) answer {
	w.t.Helper()
	a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: []byte(conf), plugins: plugins})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// Both pass on the same results, and refuse the same configurations; where they don't it's said
// why.
func TestPortmapParity(t *testing.T) {
	t.Parallel()
	mapping := `"runtimeConfig":{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]},`
	prev := map[string]string{
		"1.1.0": `{"cniVersion":"1.1.0","interfaces":[{"name":"lo","mac":"02:00:00:00:00:01"},{"name":"eth0","sandbox":"/x","mtu":1400}],"ips":[{"interface":1,"address":"10.1.2.9/24","gateway":"10.1.2.1"},{"address":"fd00::9/64"}],"routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["1.1.1.1"]}}`,
		"1.0.0": `{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.9/24"}]}`,
		"0.4.0": `{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"/x"}],"ips":[{"version":"4","interface":0,"address":"10.1.2.9/24"}],"dns":{}}`,
		"0.3.1": `{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.9/24"}],"dns":{}}`,
		"0.2.0": `{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.9/24"},"dns":{}}`,
		"0.1.0": `{"cniVersion":"0.1.0","ip4":{"ip":"10.1.2.9/24"},"dns":{}}`,
	}
	conf := func(version, keys, prev string) string {
		return `{"cniVersion":"` + version + `","name":"net","type":"portmap",` + keys + `"backend":"nftables","prevResult":` + prev + `}`
	}
	iptables := func(keys string) string {
		return strings.Replace(conf("1.1.0", keys+mapping, prev["1.1.0"]), `"backend":"nftables"`, `"backend":"iptables"`, 1)
	}
	twice := func(hostIP string) string {
		return strings.Replace(mapping, `"protocol":"tcp"}`, `"protocol":"tcp"},{"hostPort":8080,"containerPort":80,"protocol":"tcp"`+hostIP+`}`, 1)
	}
	rows := map[string]string{"bad host port": conf("1.1.0", strings.Replace(mapping, "8080", "0", 1), prev["1.1.0"]),
		"mark bit":                conf("1.1.0", `"markMasqBit":40,`+mapping, prev["1.1.0"]),
		"no result":               `{"cniVersion":"1.1.0","name":"net","type":"portmap",` + mapping + `"backend":"nftables"}`,
		"newer minor result":      conf("1.1.0", mapping, prev["1.0.0"]),
		"older minor result":      conf("1.0.0", mapping, prev["1.1.0"]),
		"conditions":              conf("1.1.0", `"conditionsV4":["ip","saddr","!=","10.0.0.0/8"],`+mapping, prev["1.1.0"]),
		"no mappings":             conf("1.1.0", "", prev["1.1.0"]),
		"no use of conditions":    conf("1.1.0", `"conditionsV4":["tcp","sport","7"],`, prev["1.1.0"]),
		"sets of addresses":       conf("1.1.0", `"conditionsV4":["ip","saddr","{","10.0.0.0/8,","192.168.0.0/16","}","ip","daddr","!=","{","192.0.2.1,","192.0.2.2","}"],`+mapping, prev["1.1.0"]),
		"types of addresses":      conf("1.1.0", `"conditionsV4":["fib","saddr","type","local"],`+mapping, prev["1.1.0"]),
		"the same twice":          conf("1.1.0", twice(`,"hostIP":""`), prev["1.1.0"]),
		"the same for 0.0.0.0":    conf("1.1.0", twice(`,"hostIP":"0.0.0.0"`), prev["1.1.0"]),
		"mark chain, nftables":    conf("1.1.0", `"externalSetMarkChain":"KUBE-MARK-MASQ",`+mapping, prev["1.1.0"]),
		"no way to the container": conf("1.1.0", strings.Replace(mapping, "tcp", "udp", 1), `{"cniVersion":"1.1.0","ips":[{"address":"203.0.113.9/24"}]}`),
		"lists of addresses":      iptables(`"conditionsV4":["-s","10.0.0.0/8,192.168.0.0/255.255.0.0"],`),
		"addrtype":                iptables(`"conditionsV4":["-m","addrtype","!","--src-type","LOCAL,UNICAST","-m","addrtype","--dst-type","LOCAL"],`),
		"mark chain":              iptables(`"externalSetMarkChain":"CNI-MARK",`),
		"no snat":                 conf("1.1.0", `"snat":false,`+mapping, prev["1.1.0"]),
	}
	for version, text := range prev {
		rows["version "+version] = conf(version, mapping, text)
	}
	for name, text := range rows {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			if err := w.netns("c1"); err != nil {
				t.Fatal(err)
			}
			// This leads to the container: its address must have a way.
			w.must("", "ip", "link", "add", "br0", "type", "bridge")
			w.must("", "ip", "link", "set", "br0", "up")
			w.must("", "ip", "addr", "add", "10.1.2.1/24", "dev", "br0")
			for _, program := range []string{"iptables", "ip6tables"} {
				w.must("", program, "-t", "nat", "-N", "CNI-MARK")
			}
			theirs := w.portmapCall(referenceDir(), "ADD", text)
			w.portmapCall(referenceDir(), "DEL", text)
			ours := w.portmapCall(oursDir(), "ADD", text)
			if ours.status != theirs.status {
				t.Fatalf("ours: %d %s, theirs: %d %s", ours.status, ours.stdout, theirs.status, theirs.stdout)
			}
			if ours.status == 0 {
				var a, b any
				if err := json.Unmarshal(ours.stdout, &a); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(theirs.stdout, &b); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(a, b) {
					t.Errorf("ours %s, theirs %s", ours.stdout, theirs.stdout)
				}
			}
			if a := w.portmapCall(oursDir(), "DEL", text); a.status != 0 {
				t.Errorf("DEL: %s", a.stdout)
			}
			if list := w.must("", "nft", "list", "ruleset"); strings.Contains(list, `c1`) {
				t.Errorf("left:\n%s", list)
			}
		})
	}
}

// A node that was upgraded with containers running: DEL removes what the reference's nftables
// backend made, and leaves other containers' alone.
func TestPortmapRemovesTheReferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir())
	for _, name := range []string{"c1", "c2"} {
		if err := w.netns(name); err != nil {
			t.Fatal(err)
		}
	}
	w.must("", "ip", "link", "add", "br0", "type", "bridge")
	w.must("", "ip", "link", "set", "br0", "up")
	w.must("", "ip", "addr", "add", "10.1.2.1/24", "dev", "br0")
	conf := strings.Replace(portmapConf(`,"backend":"nftables"`, goodMapping), "10.1.2.9/24\"}", "10.1.2.9/24\"},{\"address\":\"fd00::9/64\"}", 1)
	if a := w.portmapCall(referenceDir(), "ADD", conf); a.status != 0 {
		t.Fatalf("%s", a.stdout)
	}
	other := strings.ReplaceAll(strings.Replace(conf, "8080", "8081", 1), "10.1.2.9", "10.1.2.8")
	if a, err := w.run(call{verb: "ADD", container: "c2", ifName: "eth0", conf: []byte(other), plugins: referenceDir()}); err != nil || a.status != 0 {
		t.Fatalf("%v %s", err, a.stdout)
	}
	if list := w.must("", "nft", "list", "ruleset"); !strings.Contains(list, `comment "c1"`) {
		t.Fatalf("the reference made nothing:\n%s", list)
	}
	if a := w.portmapCall(oursDir(), "DEL", conf); a.status != 0 {
		t.Fatalf("%s", a.stdout)
	}
	if list := w.must("", "nft", "list", "ruleset"); strings.Contains(list, `comment "c1"`) || !strings.Contains(list, `comment "c2"`) {
		t.Errorf("after DEL:\n%s", list)
	}
}
