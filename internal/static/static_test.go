// SPDX-License-Identifier: Apache-2.0

package static

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// of are the keys of a network. keys follow the type of its ipam object.
func of(t *testing.T, version, keys string) (*netconf.Network, *Keys) {
	t.Helper()
	n, err := netconf.Read([]byte(`{"cniVersion":"`+version+`","name":"net","type":"static","ipam":{"type":"static"`+keys), netconf.Static, nil)
	if err != nil {
		t.Fatal(err)
	}
	return n, Of(n)
}

const (
	one = `,"addresses":[{"address":"10.1.2.3/24","gateway":"10.1.2.1"}]}}`
	two = `,"addresses":[{"address":"10.1.2.3/24","gateway":"10.1.2.1"},{"address":"fd00::3/64"}]`
)

func eth0(args string) spec.Attachment {
	return spec.Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/proc/self/ns/net", Args: args}
}

func TestAddresses(t *testing.T) {
	for name, tt := range map[string]struct {
		version           string // empty is 1.1.0
		keys, args, want  string
		concernsTheReader bool // the keys are wrong before anybody asks for addresses
	}{
		"configured":             {keys: two + `}}`, want: "10.1.2.3/24 via 10.1.2.1, fd00::3/64"},
		"none":                   {keys: `}}`},
		"CNI_ARGS adds":          {keys: two + `}}`, args: "IP=10.5.0.2/16", want: "10.1.2.3/24 via 10.1.2.1, fd00::3/64, 10.5.0.2/16"},
		"CNI_ARGS with spaces":   {keys: `}}`, args: "IP=10.5.0.2/16, fd01::2/64", want: "10.5.0.2/16, fd01::2/64"},
		"CNI_ARGS of others":     {keys: `}}`, args: "IgnoreUnknown=1;K8S_POD_NAME=IP;IP=;GATEWAY= ,;IP=10.5.0.2/16", want: "10.5.0.2/16"},
		"a gateway is its own's": {keys: two + `}}`, args: "IP=10.5.0.2/16;GATEWAY=10.1.2.9,10.5.0.1", want: "10.1.2.3/24 via 10.1.2.1, fd00::3/64, 10.5.0.2/16 via 10.5.0.1"},
		"the last gateway wins":  {keys: `}}`, args: "GATEWAY=10.5.0.1,::ffff:10.5.0.7;IP=10.5.0.2/16", want: "10.5.0.2/16 via 10.5.0.7"},
		"args replace":           {keys: two + `},"args":{"cni":{"ips":["10.6.0.2/16"]}}}`, args: "IP=10.5.0.2/16", want: "10.6.0.2/16"},
		"runtimeConfig replaces": {keys: two + `},"args":{"cni":{"ips":["10.6.0.2/16"]}},"runtimeConfig":{"ips":["10.7.0.2/16"]}}`, want: "10.7.0.2/16"},
		"mapped IPv4": {keys: `,"addresses":[{"address":"::ffff:10.1.2.3/120","gateway":"::ffff:10.1.2.1"}]}}`,
			want: "10.1.2.3/24 via 10.1.2.1"},
		"families mixed": {keys: `,"addresses":[{"address":"10.1.2.3/24","gateway":"fd00::1"}]}}`, want: "10.1.2.3/24 via fd00::1"},

		"no length in args": {keys: two + `},"args":{"cni":{"ips":["10.6.0.2"]}}}`,
			want: "an entry in the 'ips' field is NOT in CIDR notation, got: '10.6.0.2'"},
		"no length in runtimeConfig": {keys: two + `},"runtimeConfig":{"ips":["10.6.0.2"]}}`,
			want: "an entry in the 'ips' field is NOT in CIDR notation, got: '10.6.0.2'"},
		"no length in CNI_ARGS": {keys: two + `}}`, args: "IP=10.6.0.2", want: "the 'ip' field is expected to be in CIDR notation, got: '10.6.0.2'"},
		"a gateway that isn't":  {keys: two + `}}`, args: "GATEWAY=x", want: "invalid gateway address: x"},
		"a gateway with a zone": {keys: two + `}}`, args: "GATEWAY=fe80::1%eth0", want: "invalid gateway address: fe80::1%eth0"},
		"wrong CNI_ARGS though replaced": {keys: two + `},"runtimeConfig":{"ips":["10.7.0.2/16"]}}`, args: "IP=x",
			want: "the 'ip' field is expected to be in CIDR notation, got: 'x'"},
		"no length": {keys: `,"addresses":[{"address":"10.1.2.3"}]}}`, concernsTheReader: true,
			want: "the 'address' field is expected to be in CIDR notation, got: '10.1.2.3'"},
		"no address": {keys: `,"addresses":[{"gateway":"10.1.2.3"}]}}`, concernsTheReader: true,
			want: "the 'address' field is expected to be in CIDR notation, got: ''"},
		"two of a family at 0.2.0": {version: "0.2.0", keys: `,"addresses":[{"address":"10.1.2.3/24"},{"address":"10.1.3.3/24"}]}}`,
			want: "CNI version 0.2.0 does not support more than 1 address per family"},
		"one of a family each at 0.2.0": {version: "0.2.0", keys: two + `}}`, want: "10.1.2.3/24 via 10.1.2.1, fd00::3/64"},
		"null":                          {keys: `},"ipam":null}`, want: "IPAM config missing 'ipam' key"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.version == "" {
				tt.version = "1.1.0"
			}
			n, k := of(t, tt.version, tt.keys)
			var got string
			if wrong := n.Wrong(netconf.OfIPAM); wrong != nil && tt.concernsTheReader {
				got = wrong.Error()
			} else if wrong != nil {
				t.Fatal(wrong)
			} else if res, err := k.Add(t.Context(), nil, eth0(tt.args)); err != nil {
				got = err.Error()
			} else {
				got = text(res)
			}
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// text is a result's addresses.
func text(res *spec.Result) string {
	var list []string
	for _, ip := range res.IPs {
		s := ip.Address.String()
		if ip.Gateway.IsValid() {
			s += " via " + ip.Gateway.String()
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

// An IPAM plugin's result names no interface. Its routes and resolver are the ipam object's.
func TestResult(t *testing.T) {
	_, k := of(t, "1.0.0", two+`,"routes":[{"dst":"0.0.0.0/0","gw":"10.1.2.1"}],"dns":{"nameservers":["10.1.2.1"]}},"dns":{"nameservers":["10.9.9.9"]}}`)
	res, err := k.Add(t.Context(), nil, eth0(""))
	if err != nil {
		t.Fatal(err)
	}
	if res.CNIVersion != "1.0.0" || !res.OfIPAM || len(res.Interfaces) > 0 || res.IPs[0].Interface != spec.NoInterface ||
		len(res.Routes) != 1 || res.Routes[0].Gateway != netip.MustParseAddr("10.1.2.1") || strings.Join(res.DNS.Nameservers, " ") != "10.1.2.1" {
		t.Errorf("%+v", res)
	}
	again, err := k.Add(t.Context(), nil, eth0("IP=10.5.0.2/16"))
	if err != nil || text(again) != "10.1.2.3/24 via 10.1.2.1, fd00::3/64, 10.5.0.2/16" || text(res) != "10.1.2.3/24 via 10.1.2.1, fd00::3/64" {
		t.Errorf("one attachment's addresses are another's: %s, %s, %v", text(again), text(res), err)
	}
}

// A plugin that asks for addresses is to get some. The plugin itself may have none.
func TestGive(t *testing.T) {
	_, none := of(t, "1.1.0", `}}`)
	if _, err := none.Give(eth0("")); err == nil || fault.Of(err).Msg != "IPAM plugin returned missing IP config" || fault.Of(err).Key != "ipam.addresses" {
		t.Error(err)
	}
	if err := none.Status(t.Context(), nil); err != nil {
		t.Error("status:", err)
	}
	if res, err := none.Give(eth0("IP=10.5.0.2/16")); err != nil || text(res) != "10.5.0.2/16" || res.OfIPAM {
		t.Errorf("%+v, %v", res, err)
	}
}

// Wrong keys end STATUS with the error of Wrong. DEL and GC have nothing to do with them.
func TestWrongKeys(t *testing.T) {
	_, k := of(t, "1.1.0", two+`},"runtimeConfig":{"ips":["10.6.0.2"]}}`)
	wrong := k.Wrong(spec.Attachment{})
	if wrong == nil || wrong.Key != "runtimeConfig.ips" {
		t.Error(wrong)
	}
	if err := k.Status(t.Context(), nil); err == nil || err.Error() != wrong.Error() {
		t.Errorf("status: %v", err)
	}
	for verb, err := range map[string]error{"DEL": k.Del(t.Context(), nil, eth0("")), "GC": k.GC(t.Context(), nil, nil), "reclaim": k.Reclaim(t.Context(), nil)} {
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if _, k := of(t, "1.1.0", one); k.Wrong(spec.Attachment{}) != nil {
		t.Error(k.Wrong(spec.Attachment{}))
	}
	n, err := netconf.Read([]byte(`{"cniVersion":"1.1.0","name":"net","type":"static"}`), netconf.Static, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Of(n).Wrong(spec.Attachment{}); err == nil || err.Error() != "IPAM config missing 'ipam' key" {
		t.Errorf("without the key ipam: %v", err)
	}
}

// CHECK compares the gateways of addresses that the result still has. Other addresses are the main
// plugin's to miss.
func TestCheck(t *testing.T) {
	_, k := of(t, "1.1.0", one)
	ip := func(addr, gw string) spec.IP {
		ip := spec.IP{Address: netip.MustParsePrefix(addr)}
		if gw != "" {
			ip.Gateway = netip.MustParseAddr(gw)
		}
		return ip
	}
	unreadable := fault.Key("prevResult", "unreadable")
	for name, tt := range map[string]struct {
		prev    *spec.Result
		prevErr *spec.Error
		want    string
	}{
		"as given":            {prev: &spec.Result{IPs: []spec.IP{ip("10.1.2.3/24", "10.1.2.1")}}},
		"of another length":   {prev: &spec.Result{IPs: []spec.IP{ip("10.1.2.3/16", "10.1.2.1")}}},
		"another address":     {prev: &spec.Result{IPs: []spec.IP{ip("10.1.2.4/24", "10.1.2.9")}}},
		"of another gateway":  {prev: &spec.Result{IPs: []spec.IP{ip("10.1.2.3/24", "10.1.2.9")}}, want: "its gateway is 10.1.2.9, expected 10.1.2.1"},
		"without a gateway":   {prev: &spec.Result{IPs: []spec.IP{ip("10.1.2.3/24", "")}}, want: "static: Failed to match addr 10.1.2.3 on interface eth0"},
		"without a result":    {want: "Required prevResult missing"},
		"of a result unknown": {prevErr: unreadable, want: "unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			err := k.Check(t.Context(), &verbs.Call{Prev: tt.prev, PrevErr: tt.prevErr}, eth0(""))
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
