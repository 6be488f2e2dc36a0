// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"strings"
	"testing"
)

func tapConf(version, keys string) string {
	return `{"cniVersion":"` + version + `","name":"net","type":"tap"` + keys + `}`
}

// notTheReferences is what the reference has in one way if it executes ip, and in another if it doesn't.
// A program that opens a tap says anew what it wants of these.
var notTheReferences = regexp.MustCompile(`pi (on|off)|vnet_hdr (on|off)|numqueues \d+|numdisabled \d+`)

// TestTapParity: the reference and ours refuse the same, give the same results, and make the same of
// the containers.
func TestTapParity(t *testing.T) {
	t.Parallel()
	const (
		local  = `,"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]}`
		fixed  = `,"ipam":{"type":"static","addresses":[{"address":"10.1.2.9/24","gateway":"10.1.2.1"}],"routes":[{"dst":"172.16.0.0/12","gw":"10.1.2.7","priority":7}]}`
		mine   = `,"owner":1001,"group":1002`
		dns    = `,"dns":{"nameservers":["1.1.1.1"],"search":["a"]}`
		mac    = `,"mac":"02:11:22:33:44:55"`
		bridge = `,"bridge":"br0"`
	)
	cases := []parityCase{
		{name: "plain", conf: tapConf("1.1.0", "")},
		{name: "addresses", conf: tapConf("1.1.0", local+dns)},
		{name: "fixed addresses", conf: tapConf("1.1.0", fixed)},
		{name: "owner and group", conf: tapConf("1.1.0", mine+local)},
		{name: "owner", conf: tapConf("1.1.0", `,"owner":1001`)},
		{name: "group", conf: tapConf("1.1.0", `,"group":0`)},
		{name: "queues", conf: tapConf("1.1.0", `,"multiQueue":true`)},
		{name: "mtu", conf: tapConf("1.1.0", `,"mtu":1400`+local)},
		{name: "mtu of a byte too many", conf: tapConf("1.1.0", `,"mtu":65522`)},
		{name: "mtu negative", conf: tapConf("1.1.0", `,"mtu":-1`)},
		{name: "mac", conf: tapConf("1.1.0", mac)},
		{name: "mac by CNI_ARGS", conf: tapConf("1.1.0", mac), args: "IgnoreUnknown=1;MAC=02:11:22:33:44:66"},
		{name: "mac by runtimeConfig", conf: tapConf("1.1.0", mac+`,"runtimeConfig":{"mac":"02:11:22:33:44:77"}`), args: "IgnoreUnknown=1;MAC=02:11:22:33:44:66"},
		{name: "mac by args.cni", conf: tapConf("1.1.0", `,"args":{"cni":{"mac":"nonsense"}}`)},
		{name: "bad mac", conf: tapConf("1.1.0", `,"mac":"zz"`)},
		{name: "bridge", conf: tapConf("1.1.0", bridge)},
		{name: "bridge missing", conf: tapConf("1.1.0", `,"bridge":"br1"`)},
		{name: "security context", conf: tapConf("1.1.0", `,"selinuxContext":"system_u:system_r:container_t:s0"`)},
		{name: "unknown argument", conf: tapConf("1.1.0", local), args: "FOO=bar"},
		{name: "exhausted", conf: tapConf("1.1.0", `,"ipam":{"type":"host-local","subnet":"10.1.2.0/30"}`)},
		{name: "IPAM that fails", conf: tapConf("1.1.0", `,"ipam":{"type":"fake-ipam","fail":"ADD"}`)},
		{name: "keys in any case", conf: tapConf("1.1.0", `,"MULTIQUEUE":true,"Owner":7,"MTU":1300`)},
	}
	for _, v := range []string{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"} {
		cases = append(cases, parityCase{name: "version " + v, conf: tapConf(v, local+dns)}, parityCase{name: "no IPAM of version " + v, conf: tapConf(v, "")})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var seen [2][]string
			worlds := [2]*world{deviceWorld(t), deviceWorld(t)}
			for i, plugins := range []string{referenceDir(), oursDir()} {
				worlds[i].must("c1", "ip", "link", "add", "br0", "type", "bridge")
				worlds[i].must("c2", "ip", "link", "add", "br0", "type", "bridge")
				for _, step := range []string{"ADD c1", "ADD c2", "CHECK c1", "DEL c1", "DEL c1", "DEL c2"} {
					verb, container, _ := strings.Cut(step, " ")
					got := step + ": " + c.call(worlds[i], plugins, verb, container)
					seen[i] = append(seen[i], got, step+" leaves\n"+notTheReferences.ReplaceAllString(deviceState(worlds[i]), ""))
				}
			}
			dirty := false // the reference has left something of what it refused
			for i := range seen[0] {
				step, what, _ := strings.Cut(seen[0][i], ": ")
				switch {
				case dirty && strings.Contains(step, "leaves"), what == refused && (strings.HasPrefix(step, "DEL") || strings.HasPrefix(step, "CHECK")):
				case seen[0][i] != seen[1][i]:
					t.Errorf("reference (-) and ours (+)\n%s", difference(seen[0][i], seen[1][i]))
				}
				dirty = dirty || what == refused
			}
			if err := worlds[1].noTrace(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The MAC is the one that was asked for, also where the reference forgets it; and a link that isn't a
// tap stays.
func TestTapMAC(t *testing.T) {
	t.Parallel()
	w := deviceWorld(t)
	p := parityCase{conf: tapConf("1.1.0", `,"mac":"02:11:22:33:44:55","owner":1,"group":1,"ipam":{"type":"static","addresses":[{"address":"fd00:1::9/64","gateway":"fd00:1::1"}],"routes":[{"dst":"::/0"}]}`)}
	if got := p.call(w, oursDir(), "ADD", "c1"); !strings.Contains(got, "02:11:22:33:44:55") {
		t.Error(got)
	}
	if got := w.must("c1", "ip", "address", "show", "eth0"); !strings.Contains(got, "02:11:22:33:44:55") || strings.Contains(got, "tentative") || !strings.Contains(got, "fd00:1::9/64") {
		t.Error(got)
	}
	for _, verb := range []string{"CHECK", "DEL"} {
		if got := p.call(w, oursDir(), verb, "c1"); got == refused {
			t.Errorf("%s fails", verb)
		}
	}
	w.must("c1", "ip", "link", "add", "eth0", "type", "bridge")
	if got := p.call(w, oursDir(), "DEL", "c1"); got == refused {
		t.Error("DEL of nothing fails")
	}
	w.must("c1", "ip", "link", "show", "eth0")
	w.must("c1", "ip", "link", "del", "eth0")
}
