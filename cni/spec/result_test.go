// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func fullResult(version string) *Result {
	table, scope := 0, 253
	return &Result{
		CNIVersion: version,
		Interfaces: []Interface{{Name: "cni0", MAC: "02:00:00:00:00:01"}, {Name: "veth1", MAC: "02:00:00:00:00:02"},
			{Name: "eth0", MAC: "02:00:00:00:00:03", Sandbox: "/run/netns/<a>&b"}},
		IPs: []IP{
			{Address: netip.MustParsePrefix("10.1.0.2/16"), Gateway: netip.MustParseAddr("10.1.0.1"), Interface: 2},
			{Address: netip.MustParsePrefix("fd00::2/64"), Interface: NoInterface},
		},
		Routes: []Route{
			{Dst: netip.MustParsePrefix("0.0.0.0/0")},
			{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00::1"), MTU: 1400, AdvMSS: 1360, Priority: 5, Table: &table, Scope: &scope},
		},
		DNS: DNS{Nameservers: []string{"8.8.8.8"}, Domain: "example\u2028\x01\"", Search: []string{"a", "b"}, Options: []string{"ndots:2"}},
	}
}

func TestLegacyFormNeedsAnAddress(t *testing.T) {
	if _, err := (&Result{CNIVersion: "0.1.0"}).MarshalJSON(); err == nil || err.Error() != "cannot convert: no valid IP addresses; cniVersion 0.1.0 and 0.2.0 have no form for an attachment without addresses" {
		t.Error(err)
	}
}

// Whatever is printed is read back the same, in every form.
func TestResultRoundTrip(t *testing.T) {
	for _, version := range Versions() {
		text, err := fullResult(version).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		r, err := readResult(text, version)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		again, err := r.MarshalJSON()
		if err != nil || string(again) != string(text) {
			t.Errorf("%s: %v\n%s\nbecame\n%s", version, err, text, again)
		}
	}
}

// In the newest forms all of a result is read back, by encoding/json too, and in any of it nothing is left of what was there.
func TestResultIsReadWhole(t *testing.T) {
	for _, version := range []string{"0.3.0", "0.4.0", "1.0.0", "1.1.0"} {
		want := fullResult(version)
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := &Result{CNIVersion: "0.1.0", IPs: make([]IP, 7), Others: `"x":1`}
		if err := json.Unmarshal(text, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v\nwant\n%+v", version, err, got, want)
		}
	}
}

// A wrong value is named by its path.
func TestWrongResultIsNamed(t *testing.T) {
	for text, want := range map[string]*Error{
		`{"ips":[{"address":"10.0.0.1/24"},{"address":7}]}`: {Code: CodeInvalidNetwork, Key: "ips[1].address", Msg: `invalid "ips[1].address": expected a string, got a number`},
		`{"ips":[{}]}`:                    {Code: CodeInvalidNetwork, Key: "ips[0]", Msg: `invalid "ips[0]": expected an object with "address"`},
		`{"routes":[{"dst":"10.0.0.0"}]}`: {Code: CodeInvalidNetwork, Key: "routes[0].dst", Msg: "invalid CIDR address: 10.0.0.0", Details: "routes[0].dst: expected an address with a prefix length"},
		`[]`:                              {Code: CodeInvalidNetwork, Msg: "expected an object, got a list"},
		`{"ips":`:                         {Code: CodeDecode, Msg: "failed to unmarshal raw result: unexpected end of JSON input"},
	} {
		var got *Error
		_, err := readResult([]byte(text), "1.0.0")
		if !errors.As(err, &got) || got.Code != want.Code || got.Key != want.Key || got.Msg != want.Msg || got.Details != want.Details {
			t.Errorf("%s: got %#v, want %#v", text, err, want)
		}
	}
}

// Whatever a result has beside what's known is printed again, where it was.
func TestResultKeepsWhatIsNotKnown(t *testing.T) {
	const entries = `"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1","src":"10.1.2.9"},{"gw":"10.1.2.1","scope":999}],"dns":{"nameservers":["1.1.1.1"],"ndots":[5]},"since":{"b":1,"a":null}`
	legacy := `"ip4":{"ip":"10.1.2.9/24","routes":[{"dst":"0.0.0.0/0","src":"x"}],"lifetime":7},"dns":{"x":{}},"since":[]`
	list := `"interfaces":[{"name":"eth0","mac":"02:00:00:00:00:01","mtu":1400,"sandbox":"/x","pciID":"254"},{"name":"d","socketPath":"1","Future":{"a":[1,2]}}],` +
		`"ips":[{VERSION"address":"10.1.2.9/24","interface":0,"lifetime":1.5e3}],` + entries
	for version, rest := range map[string]string{
		"0.1.0": legacy, "0.2.0": legacy, "0.3.1": strings.Replace(list, "VERSION", `"version":"4",`, 1), "0.4.0": strings.Replace(list, "VERSION", `"version":"4",`, 1),
		"1.0.0": strings.Replace(list, "VERSION", "", 1), "1.1.0": strings.Replace(list, "VERSION", "", 1),
	} {
		text := `{"cniVersion":"` + version + `",` + rest + `}`
		r, err := readResult([]byte(text), version)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		again, err := r.MarshalJSON()
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		var got, want any
		if err := errors.Join(json.Unmarshal(again, &got), json.Unmarshal([]byte(text), &want)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s\nbecame %s", version, text, again)
		}
	}
}

func FuzzParseResult(f *testing.F) {
	for _, version := range Versions() {
		text, _ := fullResult(version).MarshalJSON()
		f.Add(text, version)
	}
	f.Fuzz(func(t *testing.T, text []byte, version string) {
		r, err := readResult(text, version)
		if err != nil {
			return
		}
		printed, err := r.MarshalJSON()
		if err != nil {
			return
		}
		if !json.Valid(printed) {
			t.Fatalf("not JSON: %s", printed)
		}
		if _, err := readResult(printed, version); err != nil {
			t.Fatalf("can't read what was printed: %v\n%s", err, printed)
		}
	})
}

func readResult(text []byte, version string) (*Result, error) {
	r := &Result{CNIVersion: version}
	return r, r.UnmarshalJSON(text)
}
