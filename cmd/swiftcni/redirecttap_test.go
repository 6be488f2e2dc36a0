// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// Firecracker's tc-redirect-tap follows bridge or ptp. Its result names the tap twice, once with the VM's
// ID as its namespace, and has each address twice. Our plugins take that as a result to check, to follow
// and to detach by.
func TestBehindTCRedirectTap(t *testing.T) {
	t.Parallel()
	for _, first := range []string{
		`{"cniVersion":"1.1.0","name":"vms","type":"bridge","bridge":"vms0","isGateway":true,"ipMasq":true,
			"ipam":{"type":"host-local","subnet":"10.1.2.0/24","dataDir":"/run/leases","routes":[{"dst":"0.0.0.0/0"}]}}`,
		`{"cniVersion":"1.1.0","name":"vms","type":"ptp","ipMasq":true,
			"ipam":{"type":"host-local","subnet":"10.1.2.0/24","dataDir":"/run/leases","routes":[{"dst":"0.0.0.0/0"}]}}`,
	} {
		t.Run(keysOf([]byte(first)).Type, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, t.TempDir())
			if err := w.netns("c1"); err != nil {
				t.Fatal(err)
			}
			list := []string{first, `{"cniVersion":"1.1.0","name":"vms","type":"tc-redirect-tap"}`}
			for _, p := range following {
				if p.plugin == "portmap" || p.plugin == "firewall" {
					list = append(list, `{"cniVersion":"1.1.0","name":"vms","type":"`+p.plugin+`"`+p.keys+`}`)
				}
			}
			var prev []byte
			run := func(verb, conf string, prev []byte) answer {
				t.Helper()
				text := []byte(conf)
				if prev != nil {
					var err error
					if text, err = withKey(text, "prevResult", prev); err != nil {
						t.Fatal(err)
					}
				}
				plugins := oursDir()
				if strings.Contains(conf, "tc-redirect-tap") {
					plugins = referenceDir()
				}
				a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: text, bare: true, plugins: plugins,
					env: map[string]string{"CNI_ARGS": "IgnoreUnknown=1;TC_REDIRECT_TAP_NAME=tap1"}})
				if err != nil || a.status != 0 {
					t.Fatalf("%s %s: %v %s%s", verb, conf, err, a.stdout, a.stderr)
				}
				return a
			}
			for range 2 { // also once what's left would be in the way
				prev = nil
				for _, conf := range list {
					prev = run("ADD", conf, prev).stdout
				}
				var r struct {
					Interfaces []struct{ Name, Sandbox string }
					IPs        []struct{ Address string }
				}
				if err := json.Unmarshal(prev, &r); err != nil {
					t.Fatal(err)
				}
				last := r.Interfaces[len(r.Interfaces)-1]
				if last.Name != "tap1" || last.Sandbox != "c1" || len(r.IPs) != 2 || r.IPs[0] != r.IPs[1] {
					t.Fatalf("this isn't the shape that is meant: %s", prev)
				}
				if rules := w.must("", "nft", "list", "ruleset"); strings.Count(rules, ": "+strings.TrimSuffix(r.IPs[0].Address, "/24")+" . 80") != 1 {
					t.Errorf("the ruleset hasn't the one port:\n%s", rules)
				}
				for _, conf := range list {
					run("CHECK", conf, prev)
				}
				for range 2 {
					for _, conf := range slices.Backward(list) {
						run("DEL", conf, prev)
					}
				}
				if links, err := w.links("c1"); err != nil || !slices.Equal(links, []string{"lo"}) {
					t.Errorf("c1 has %q, %v", links, err)
				}
				if err := w.noTrace(); err != nil {
					t.Error(err)
				}
			}
			w.finish()
		})
	}
}
