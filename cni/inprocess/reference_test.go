// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types020 "github.com/containernetworking/cni/pkg/types/020"
	types040 "github.com/containernetworking/cni/pkg/types/040"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"
	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/cni/spec"
)

func fullResult(version string) *spec.Result {
	table, scope := 0, 253
	return &spec.Result{
		CNIVersion: version,
		Interfaces: []spec.Interface{{Name: "cni0", MAC: "02:00:00:00:00:01"}, {Name: "veth1", MAC: "02:00:00:00:00:02"},
			{Name: "eth0", MAC: "02:00:00:00:00:03", Sandbox: "/run/netns/<a>&b"}},
		IPs: []spec.IP{
			{Address: netip.MustParsePrefix("10.1.0.2/16"), Gateway: netip.MustParseAddr("10.1.0.1"), Interface: 2},
			{Address: netip.MustParsePrefix("fd00::2/64"), Interface: spec.NoInterface},
		},
		Routes: []spec.Route{
			{Dst: netip.MustParsePrefix("0.0.0.0/0")},
			{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00::1"), MTU: 1400, AdvMSS: 1360, Priority: 5, Table: &table, Scope: &scope},
		},
		DNS: spec.DNS{Nameservers: []string{"8.8.8.8"}, Domain: "example\u2028\x01\"", Search: []string{"a", "b"}, Options: []string{"ndots:2"}},
	}
}

// The library's own types, printed by its own encoder, are the judge of every form.
func TestResultPrintsAsTheLibraryDoes(t *testing.T) {
	for _, version := range spec.Versions() {
		t.Run(version, func(t *testing.T) {
			ours, err := fullResult(version).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := create.Create(version, ours)
			if err != nil {
				t.Fatalf("the library can't read it: %v\n%s", err, ours)
			}
			want, err := json.MarshalIndent(theirs, "", "    ")
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(ours) {
				t.Errorf("printed\n%s\nwant\n%s", ours, want)
			}
		})
	}
}

func TestEmptyResultPrintsAsTheLibraryDoes(t *testing.T) {
	for version, theirs := range map[string]any{
		"0.3.1": &types040.Result{CNIVersion: "0.3.1"},
		"1.0.0": &types100.Result{CNIVersion: "1.0.0"},
		"1.1.0": &types100.Result{CNIVersion: "1.1.0"},
	} {
		want, _ := json.MarshalIndent(theirs, "", "    ")
		got, err := (&spec.Result{CNIVersion: version}).MarshalJSON()
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: got %v\n%s\nwant\n%s", version, err, got, want)
		}
	}
}

func TestLegacyFormFillsGateways(t *testing.T) {
	text, err := fullResult("0.2.0").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	got, err := types020.NewResult(text)
	if err != nil {
		t.Fatal(err)
	}
	r := got.(*types020.Result)
	if gw := r.IP4.Routes[0].GW.String(); gw != "10.1.0.1" {
		t.Errorf("gw %s, want the address's", gw)
	}
	if gw := r.IP6.Routes[0].GW.String(); gw != "fd00::1" {
		t.Errorf("gw %s, want the route's own", gw)
	}
}

// The specification's codes are the library's.
func TestCodesAreTheLibrarys(t *testing.T) {
	for ours, theirs := range map[uint]uint{
		spec.CodeIncompatibleVersion: types.ErrIncompatibleCNIVersion,
		spec.CodeInvalidEnvironment:  types.ErrInvalidEnvironmentVariables,
		spec.CodeIO:                  types.ErrIOFailure,
		spec.CodeDecode:              types.ErrDecodingFailure,
		spec.CodeInvalidNetwork:      types.ErrInvalidNetworkConfig,
		spec.CodeInvalidNetNS:        types.ErrInvalidNetNS,
		spec.CodeTryAgain:            types.ErrTryAgainLater,
		spec.CodeInternal:            types.ErrInternal,
		spec.CodeUnavailable:         types.ErrPluginNotAvailable,
		spec.CodeLimited:             types.ErrLimitedConnectivity,
	} {
		if ours != theirs {
			t.Errorf("%d is the library's %d", ours, theirs)
		}
	}
}

// The library reads the error that a plugin prints, and the same error comes from a call in-process.
func TestErrorsAreTheLibrarys(t *testing.T) {
	env := environment{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS=/run/netns/c1", "CNI_PATH=/none"}
	const conf = `{"cniVersion":"1.0.0","name":"n","type":"bridge","ipam":{"type":"host-local","subnet":"10.1.0.0"}}`
	var out, stderr bytes.Buffer
	if status := cni.Main("bridge", env.get, bytes.NewReader([]byte(conf)), &out, &stderr); status != 1 {
		t.Fatal(status, stderr.String())
	}
	var printed types.Error
	if err := json.Unmarshal(out.Bytes(), &printed); err != nil || printed.Code != types.ErrInvalidNetworkConfig || printed.Msg == "" || printed.Details == "" {
		t.Fatalf("%v: %s", err, out.String())
	}
	_, err := New(nil).ExecPlugin(t.Context(), scheme+"bridge", []byte(conf), env)
	if returned, ok := err.(*types.Error); !ok || *returned != printed {
		t.Errorf("in-process %#v, printed %#v", err, printed)
	}
}
