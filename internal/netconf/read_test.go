// SPDX-License-Identifier: Apache-2.0

package netconf_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/hostlocal"
	"github.com/swiftcni/swiftcni/internal/netconf"
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
			n, err := read([]byte(`{"cniVersion":"1.0.0","name":"n","ipMasq":true,"` + key + `":` + value + `}`))
			if wrong := n.Wrong(netconf.OfBridge | netconf.OfLink | netconf.OfMasquerade); err == nil && wrong != nil {
				err = wrong
			}
			if err == nil || fault.Of(err).Code != spec.CodeInvalidNetwork || !strings.HasPrefix(fault.Of(err).Key, key) {
				t.Errorf("%s as %s: %v", key, kind, err)
			}
		}
	}
}

func TestJSONFailuresAreDecodingFailures(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "null", `{"name":"n"} x`, `{"name":"n"}{}`, `{"name":5}`, `{"cniVersion":1,"name":"n"}`, "\xff", `{"name":"n","mtu":1`} {
		_, err := read([]byte(text))
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		if e := fault.Of(err); e.Code != spec.CodeDecode && text != "null" {
			t.Errorf("%q: code %d, %v", text, e.Code, e)
		}
	}
}

func TestKeysMatchInAnyCaseAndTheLastWins(t *testing.T) {
	n, err := read([]byte(`{"CNIVersion":"0.4.0","NAME":"n","Bridge":"a","bridge":"b","MTU":1,"mtu":null,"ipmasq":true,
		"RuntimeConfig":{"IPs":["10.0.0.7/8","10.0.0.7"],"mac":"02:00:00:00:00:01"},"ARGS":{"CNI":{"ips":["10.0.0.8"],"mac":"x"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if n.Bridge.Name != "b" || n.Link.MTU != 1 || !n.Link.IPMasq || n.CNIVersion != "0.4.0" {
		t.Errorf("%+v", n)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("10.0.0.8")}; len(hostlocal.Of(n).Wanted(spec.Attachment{})) != 2 || hostlocal.Of(n).Wanted(spec.Attachment{})[0] != want[0] || hostlocal.Of(n).Wanted(spec.Attachment{})[1] != want[1] {
		t.Error("wanted", hostlocal.Of(n).Wanted(spec.Attachment{}))
	}
	mac, wrong := n.MAC(spec.Attachment{MAC: net.HardwareAddr{1}})
	if wrong != nil || mac.String() != "02:00:00:00:00:01" {
		t.Error(mac, wrong)
	}
}

// An object that comes again adds to the first, null takes it back, and each key in it counts as
// it's said last.
func TestObjectsAgain(t *testing.T) {
	n, err := read([]byte(`{"name":"n","ipam":{"type":"host-local","subnet":"10.0.0.0/24","dataDir":"/x","gateway":"10.0.0.7"},"ipam":{"rangeStart":"10.0.0.9","gateway":""},
		"runtimeConfig":{"ips":["10.0.0.50"],"ips":["10.0.0.60"]},"args":{"cni":{"ips":["10.0.0.70"]}},"args":null}`))
	if err != nil {
		t.Fatal(err)
	}
	r := n.IPAM.Sets[0][0]
	if r.Start.String() != "10.0.0.9" || r.Gateway.String() != "10.0.0.1" || n.IPAM.DataDir != "/x" {
		t.Errorf("%+v in %s", r, n.IPAM.DataDir)
	}
	if _, err := read([]byte(`{"name":"n","ipam":{"type":"host-local","gateway":"10.1.0.1","ranges":[[{"subnet":"10.0.0.0/24"}]]}}`)); err != nil {
		t.Error("a gateway without a subnet is no range:", err)
	}
	if want := hostlocal.Of(n).Wanted(spec.Attachment{}); len(want) != 1 || want[0].String() != "10.0.0.60" {
		t.Error("wanted", want)
	}
}
