// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// read reads a configuration for whatever plugin is named, and finds what is wrong with the keys
// that most share.
func read(text []byte) (*netconf.Network, error) {
	n, err := netconf.Read(text, "", nil)
	if err != nil {
		return nil, err
	}
	if wrong := n.Wrong(netconf.OfEach | netconf.OfMain | netconf.OfMAC | netconf.OfIPAM | netconf.OfGC); wrong != nil {
		return n, wrong
	}
	return n, nil
}

// keysOf are those of a plugin that was read.
func keysOf(p verbs.Plugin) *Keys {
	if b, ok := p.(*Bridge); ok {
		return &b.Keys
	}
	return p.(*Keys)
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
		`"mtu": "1500"`:                               `"mtu": expected a number or "auto", got "1500"`,
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
		n, err := read([]byte(`{"cniVersion":"1.0.0","name":"n",` + conf + `}`))
		if err == nil {
			_, err = keysOf(ReadBridge(n)).checkAdd(spec.Attachment{ContainerID: "c", IfName: "eth0", NetNS: "x"})
		}
		if err == nil || !strings.Contains(err.Error(), want) || fault.Of(err).Code != spec.CodeInvalidNetwork || fault.Of(err).Key == "" {
			t.Errorf("%s:\n got %v\nwant %s", conf, err, want)
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
		n, err := read(text)
		if n == nil {
			if err == nil {
				t.Fatal("nothing, and no error")
			}
			return
		}
		if !netconf.ValidID(n.Name) {
			t.Fatalf("took the name %q", n.Name)
		}
		if !json.Valid(text) && err == nil && strings.ToValidUTF8(string(text), "") == string(text) {
			t.Fatalf("took what isn't JSON: %q", text)
		}
		_, _ = keysOf(ReadBridge(n)).checkAdd(spec.Attachment{ContainerID: "c", IfName: "eth0", NetNS: "x"})
		if b := n.Bridge; b.VLAN < 0 || b.VLAN > netconf.MaxVLAN || n.Link.Queues < 1 || n.Link.Queues > 4096 {
			t.Fatalf("took %+v", b)
		}
	})
}
