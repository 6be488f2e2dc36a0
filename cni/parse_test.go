// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Every key refuses every other type, and names itself.
// parse reads a configuration for whatever plugin is named, if any, and finds what is wrong with the keys that most share.
func parse(text []byte) (*Network, error) {
	n, err := readFor(text, nil)
	if err != nil {
		return nil, err
	}
	return n, n.wrong(ofEach | ofMain | ofMAC | ofIPAM | ofGC)
}

func TestWrongTypesAreNamed(t *testing.T) {
	values := map[string]string{"string": `"x"`, "number": `7`, "boolean": `true`, "object": `{"a":1}`, "list": `[{}]`}
	for key, right := range map[string]string{
		"bridge": "string", "isGateway": "boolean", "isDefaultGateway": "boolean", "forceAddress": "boolean", "ipMasq": "boolean",
		"ipMasqBackend": "string", "mtu": "number", "queues": "number", "hairpinMode": "boolean", "promiscMode": "boolean", "vlan": "number",
		"vlanTrunk": "list", "preserveDefaultVlan": "boolean", "macspoofchk": "boolean", "enabledad": "boolean",
		"disableContainerInterface": "boolean", "portIsolation": "boolean", "linkLocal": "boolean", "chain": "list", "ipam": "object", "dns": "object", "args": "object",
		"runtimeConfig": "object", "type": "string",
	} {
		for kind, value := range values {
			if kind == right {
				continue
			}
			n, err := parse([]byte(`{"cniVersion":"1.0.0","name":"n","ipMasq":true,"` + key + `":` + value + `}`))
			if err == nil && n.wrong(ofBridge|ofLink|ofMasquerade) != nil {
				err = n.wrong(ofBridge | ofLink | ofMasquerade)
			}
			if err == nil || asError(err).Code != CodeInvalidNetwork || !strings.HasPrefix(asError(err).Key, key) {
				t.Errorf("%s as %s: %v", key, kind, err)
			}
		}
	}
}

func TestBadValuesAreNamed(t *testing.T) {
	for conf, want := range map[string]string{
		`"vlan": 4095`:                                "invalid VLAN ID 4095 (must be between 0 and 4094)",
		`"vlan": -1`:                                  "invalid VLAN ID -1 (must be between 0 and 4094)",
		`"vlanTrunk": [ { "id": 0 } ]`:                "incorrect trunk id parameter",
		`"vlanTrunk": [ { "minID": 5 } ]`:             "minID and maxID should be configured simultaneously, maxID is missing",
		`"vlanTrunk": [ { "maxID": 5 } ]`:             "minID and maxID should be configured simultaneously, minID is missing",
		`"vlanTrunk": [ { "minID": 9, "maxID": 5 } ]`: "minID is greater than maxID in trunk parameter",
		`"vlanTrunk": [ { "minID": 0, "maxID": 5 } ]`: "incorrect trunk minID parameter",
		`"ipMasq": true, "ipMasqBackend": "ipfw"`:     `unknown ipmasq backend "ipfw"`,
		`"bridge": ""`:                                `bridge: interface name is empty`,
		`"bridge": "a/b"`:                             `bridge: interface name contains`,
		`"bridge": "abcdefghijklmnop"`:                `bridge: interface name is too long`,
		`"mtu": 70000`:                                `mtu: expected`,
		`"mtu": 1.5`:                                  "expected a whole number",
		`"queues": 0`:                                 `"queues": expected 1 to 4096, got 0`,
		`"hairpinMode": true, "promiscMode": true`:    "cannot set hairpin mode and promiscuous mode at the same time",
		`"args": { "cni": { "mac": "zz" } }`:          `address zz: invalid MAC address; args.cni.mac`,
		`"ipam": { "type": "static" }, "args": { "cni": { "ips": [ "1.2.3" ] } }`:                                             `"args.cni.ips[0]": expected an IP address`,
		`"ipam": { "type": "host-local" }`:                                                                                    "no IP ranges specified",
		`"ipam": { "type": "host-local", "ranges": [ [ ] ] }`:                                                                 "empty range set",
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0" }`:                                                              `ipam.subnet: expected an address with a prefix length`,
		`"ipam": { "type": "host-local", "subnet": "10.0.0.1/24" }`:                                                           "Network has host bits set",
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/31" }`:                                                           "too small to allocate from",
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/24", "rangeStart": "10.1.0.1" }`:                                 "RangeStart 10.1.0.1 not in network 10.0.0.0/24",
		`"isGateway": true, "ipam": { "type": "host-local", "subnet": "10.0.0.0/24", "gateway": "10.1.0.1" }`:                 "gateway 10.1.0.1 not in network 10.0.0.0/24",
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/24", "dataDir": "x" }`:                                           `"ipam.dataDir": expected an absolute path`,
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/24", "routes": [ { "gw": "10.0.0.1" } ] }`:                       `expected a route with "dst"`,
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/24", "routes": [ { "dst": "::/0", "gw": "10.0.0.1" } ] }`:        `"gw" of the family of "dst"`,
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/24" }, "disableContainerInterface": true`:                        "cannot use IPAM when DisableContainerInterface flag is set",
		`"ipam": { "type": "host-local", "subnet": "10.0.0.0/24" }, "isGateway": true, "vlan": 100, "bridge": "abcdefghijkl"`: "would be longer than 15 characters",
		`"ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.0.0.0/24" } ], [ { "subnet": "10.0.0.0/16" } ] ] }`:    "range set 0 overlaps with 1",
	} {
		n, err := parse([]byte(`{"cniVersion":"1.0.0","name":"n",` + conf + `}`))
		if err == nil {
			_, err = n.checkAttach(Attachment{ContainerID: "c", IfName: "eth0", NetNS: "x"})
		}
		if err == nil || !strings.Contains(err.Error(), want) || asError(err).Code != CodeInvalidNetwork || asError(err).Key == "" {
			t.Errorf("%s:\n got %v\nwant %s", conf, err, want)
		}
	}
}

func TestJSONFailuresAreDecodingFailures(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "null", `{"name":"n"} x`, `{"name":"n"}{}`, `{"name":5}`, `{"cniVersion":1,"name":"n"}`, "\xff", `{"name":"n","mtu":1`} {
		_, err := parse([]byte(text))
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		if e := asError(err); e.Code != CodeDecode && text != "null" {
			t.Errorf("%q: code %d, %v", text, e.Code, e)
		}
	}
}

func TestKeysMatchInAnyCaseAndTheLastWins(t *testing.T) {
	n, err := parse([]byte(`{"CNIVersion":"0.4.0","NAME":"n","Bridge":"a","bridge":"b","MTU":1,"mtu":null,"ipmasq":true,
		"RuntimeConfig":{"IPs":["10.0.0.7/8","10.0.0.7"],"mac":"02:00:00:00:00:01"},"ARGS":{"CNI":{"ips":["10.0.0.8"],"mac":"x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if n.bridge.name != "b" || n.bridge.mtu != 1 || !n.bridge.ipMasq || n.cniVersion != "0.4.0" {
		t.Errorf("%+v", n.bridge)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.8")}; len(n.wanted(Attachment{})) != 2 || n.wanted(Attachment{})[0] != want[0] || n.wanted(Attachment{})[1] != want[1] {
		t.Error("wanted", n.wanted(Attachment{}))
	}
	mac, err := n.mac(Attachment{MAC: "y"})
	if err != nil || mac.String() != "02:00:00:00:00:01" {
		t.Error(mac, err)
	}
}

// An object that comes again adds to the first, null takes it back, and each key in it counts as it's said last.
func TestObjectsAgain(t *testing.T) {
	n, err := parse([]byte(`{"name":"n","ipam":{"type":"host-local","subnet":"10.0.0.0/24","dataDir":"/x","gateway":"10.0.0.7"},"ipam":{"rangeStart":"10.0.0.9","gateway":""},
		"runtimeConfig":{"ips":["10.0.0.50"],"ips":["10.0.0.60"]},"args":{"cni":{"ips":["10.0.0.70"]}},"args":null}`))
	if err != nil {
		t.Fatal(err)
	}
	r := n.ipam.sets[0][0]
	if r.Start.String() != "10.0.0.9" || r.Gateway.String() != "10.0.0.1" || n.ipam.dataDir != "/x" {
		t.Errorf("%+v in %s", r, n.ipam.dataDir)
	}
	if _, err := parse([]byte(`{"name":"n","ipam":{"type":"host-local","gateway":"10.1.0.1","ranges":[[{"subnet":"10.0.0.0/24"}]]}}`)); err != nil {
		t.Error("a gateway without a subnet is no range:", err)
	}
	if want := n.wanted(Attachment{}); len(want) != 1 || want[0].String() != "10.0.0.60" {
		t.Error("wanted", want)
	}
}

func TestArgs(t *testing.T) {
	for args, want := range map[string]string{
		"MAC=02:00:00:00:00:01;IP=10.0.0.2": "",
		"IgnoreUnknown=1;K8S_POD_NAME=p":    "",
		"K8S_POD_NAME=p;IgnoreUnknown=TRUE": "",
		"K8S_POD_NAME=p":                    `ARGS: unknown args ["K8S_POD_NAME=p"]`,
		"K=p;IgnoreUnknown=0":               `ARGS: unknown args ["K=p"]`,
		"A=B=C":                             `ARGS: invalid pair "A=B=C"`,
		"IP=10.0.0.2;":                      `ARGS: invalid pair ""`,
		"IP=x":                              `invalid IP address x`,
		"IP=;MAC=;GATEWAY=":                 "",
		"IP=x;IP=10.0.0.2":                  "",
		"IgnoreUnknown=maybe":               `boolean unmarshal error: invalid input maybe`,
	} {
		a := Attachment{Args: args}
		badIP, err := parseArgs(&a)
		if err == nil {
			err = badIP
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || asError(err).Key != "CNI_ARGS") {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

func TestMergeVLANs(t *testing.T) {
	got := mergeVLANs([]vlanRange{{7, 9}, {1, 1}, {8, 12}, {13, 13}, {2, 2}, {20, 21}, {20, 20}})
	want := []vlanRange{{1, 2}, {7, 13}, {20, 21}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Error(got)
	}
}

func TestNamesAreDerived(t *testing.T) {
	seen := map[string]bool{}
	for _, owner := range [][3]string{{"n", "c1", "eth0"}, {"n", "c1", "eth1"}, {"n", "c", "1eth0"}, {"nc", "1", "eth0"}, {"m", "c1", "eth0"}} {
		nm := names.Of(owner[0], owner[1], owner[2], 0)
		if seen[nm.Link] || seen[nm.MAC.String()] {
			t.Error("names meet:", owner)
		}
		seen[nm.Link], seen[nm.MAC.String()] = true, true
		if nm.Index%2 != 0 || nm.Index < names.Least || nm.Peer%2 != 1 || nm.Peer < names.Least || nm.Peer >= 1<<31 || len(nm.Link) > names.MaxLink || nm.MAC[0]&3 != 2 {
			t.Errorf("%+v", nm)
		}
		for _, other := range []string{"n", "nc", "m", "x"} {
			if names.InNetwork(other, rtnl.Link{Index: nm.Index, MAC: nm.MAC}) != (other == owner[0]) {
				t.Errorf("%v taken as of %s or not", owner, other)
			}
		}
	}
}

func TestContainerMAC(t *testing.T) {
	p4, p6 := netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fd00::3/64")
	if m := names.ContainerMAC([]netip.Prefix{p6, p4}, "s"); m.String() != "0a:58:0a:01:02:03" {
		t.Error(m)
	}
	if names.ContainerMAC([]netip.Prefix{p6}, "s").String() != names.ContainerMAC([]netip.Prefix{p6}, "t").String() {
		t.Error("an address that is given again changes its MAC")
	}
	if names.ContainerMAC(nil, "s").String() == names.ContainerMAC(nil, "t").String() {
		t.Error("two containers without addresses share a MAC")
	}
	for _, m := range [][]byte{names.ContainerMAC(nil, "s"), names.ContainerMAC([]netip.Prefix{p6}, ""), names.ContainerMAC([]netip.Prefix{p4}, ""), names.BridgeMAC("b", "x", 1)} {
		if m[0]&3 != 2 {
			t.Errorf("%x isn't a local unicast address", m)
		}
	}
}

// Reading never panics, and what's read well is read the same again with its keys in any case.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"cniVersion":"0.2.0","name":"mynet","type":"bridge","bridge":"cnibr0","isGateway":true,"ipMasq":true,
		"ipam":{"type":"host-local","subnet":"172.19.1.0/24","routes":[{"dst":"0.0.0.0/0"}],"dataDir":"/run/ipam-state"},"dns":{"nameservers":["8.8.8.8"]}}`))
	f.Add([]byte(`{"name":"n","vlanTrunk":[{"id":1},{"minID":2,"maxID":3}],"runtimeConfig":{"ipRanges":[[{"subnet":"fd00::/64"}]]},"prevResult":{"ip4":{"ip":"10.0.0.1/8"}}}`))
	f.Add([]byte(`{"name":"n","cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		n, err := parse(text)
		if n == nil {
			if err == nil {
				t.Fatal("nothing, and no error")
			}
			return
		}
		if !validID(n.name) {
			t.Fatalf("took the name %q", n.name)
		}
		if !json.Valid(text) && err == nil && strings.ToValidUTF8(string(text), "") == string(text) {
			t.Fatalf("took what isn't JSON: %q", text)
		}
		_, _ = n.checkAttach(Attachment{ContainerID: "c", IfName: "eth0", NetNS: "x"})
		if b := n.bridge; b.vlan < 0 || b.vlan > maxVLAN || b.queues < 1 || b.queues > maxQueues {
			t.Fatalf("took %+v", b)
		}
	})
}

func FuzzArgs(f *testing.F) {
	f.Add("IgnoreUnknown=1;K8S_POD_NAMESPACE=a;IP=10.0.0.1")
	f.Fuzz(func(t *testing.T, args string) {
		a := Attachment{Args: args}
		if _, err := parseArgs(&a); err == nil {
			for _, addr := range a.Addrs {
				if !addr.IsValid() || addr.Is4In6() {
					t.Fatal(addr)
				}
			}
		}
	})
}
