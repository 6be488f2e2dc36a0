// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
)

// keys reads those of a configuration.
func keys(t *testing.T, text string) *Keys {
	t.Helper()
	n, err := netconf.Read([]byte(`{"cniVersion":"1.1.0","name":"net","type":"firewall"`+text+`}`), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return Read(n).(*Keys)
}

// Wrong keys leave DEL those that it works with.
func TestKeysOfDel(t *testing.T) {
	for text, want := range map[string]struct{ chain, zone, wrong string }{
		``: {nft.DefaultAdminChain, "trusted", ""},
		`,"iptablesAdminChainName":"MINE","firewalldZone":"home"`:               {"MINE", "home", ""},
		`,"iptablesAdminChainName":"a b","firewalldZone":"home"`:                {nft.DefaultAdminChain, "home", "iptablesAdminChainName"},
		`,"firewalldZone":7,"iptablesAdminChainName":"MINE","ingressPolicy":""`: {"MINE", "trusted", "firewalldZone"},
		`,"backend":"ipfw","iptablesAdminChainName":"MINE"`:                     {"MINE", "trusted", "backend"},
		`,"ingressPolicy":"closed","firewalldZone":"home"`:                      {nft.DefaultAdminChain, "home", "ingressPolicy"},
	} {
		k := keys(t, text)
		wrong := ""
		if e := k.Wrong(spec.Attachment{}); e != nil {
			wrong = e.Key
		}
		var told facts.Plugin
		k.Tell(&told)
		o := k.opening(&verbs.Call{}, spec.Attachment{})
		if o.AdminChain != want.chain || told.Zone != want.zone || wrong != want.wrong {
			t.Errorf("%s: chain %q, zone %q, wrong %q, want %+v", text, o.AdminChain, told.Zone, wrong, want)
		}
	}
}

// The way is for each address of the result, once. A policy is the bridge's, if the first interface
// can be one.
func TestOpening(t *testing.T) {
	ip := func(addr string) spec.IP { return spec.IP{Address: netip.MustParsePrefix(addr)} }
	ips := []spec.IP{ip("10.1.0.1/24"), ip("fd00::1/64"), ip("10.1.0.1/16")}
	for name, tt := range map[string]struct {
		first  []spec.Interface
		bridge string
	}{
		"a bridge":               {[]spec.Interface{{Name: "br0"}, {Name: "veth1"}}, "br0"},
		"no interface":           {nil, ""},
		"one of the container's": {[]spec.Interface{{Name: "eth0", Sandbox: "/n"}, {Name: "br0"}}, ""},
		"no name for a link":     {[]spec.Interface{{Name: "a/b"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := keys(t, `,"ingressPolicy":"same-bridge"`).opening(
				&verbs.Call{Network: "net", Prev: &spec.Result{Interfaces: tt.first, IPs: ips}}, spec.Attachment{ContainerID: "c1", IfName: "eth0"})
			policy := nft.IngressOpen
			if tt.bridge != "" {
				policy = nft.IngressSameBridge
			}
			if o.Bridge != tt.bridge || o.Ingress != policy || len(o.Addrs) != 2 || o.Owner != (nft.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}) {
				t.Errorf("%+v", o)
			}
		})
	}
}

// A policy needs a bridge, which the reference looks for by its name alone.
func TestPolicyNeedsABridge(t *testing.T) {
	for name, tt := range map[string]struct {
		keys string
		prev *spec.Result
		want string
	}{
		"open":              {`,"ingressPolicy":"open"`, &spec.Result{}, ""},
		"without":           {`,"ingressPolicy":"isolated"`, &spec.Result{}, `interface needs to be set for ingress policy "isolated", make sure to chain "firewall" plugin with "bridge"`},
		"without its name":  {`,"ingressPolicy":"isolated"`, &spec.Result{Interfaces: []spec.Interface{{Sandbox: "/n"}}}, `interface needs to be set for ingress policy "isolated"`},
		"with one":          {`,"ingressPolicy":"isolated"`, &spec.Result{Interfaces: []spec.Interface{{Name: "br0"}}}, ""},
		"without a result":  {``, nil, "missing prevResult from earlier plugin"},
		"wrong keys before": {`,"backend":"ipfw"`, nil, `unrecognized backend "ipfw"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := keys(t, tt.keys).check(&verbs.Call{Prev: tt.prev})
			if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
