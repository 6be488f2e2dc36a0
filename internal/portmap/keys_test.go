// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
)

// keys reads those of a configuration.
func keys(t *testing.T, text string) *Keys {
	t.Helper()
	n, err := netconf.Read([]byte(`{"cniVersion":"1.1.0","name":"net","type":"portmap"`+text+`}`), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return Read(n).(*Keys)
}

func mapped(mappings string) string { return `,"runtimeConfig":{"portMappings":[` + mappings + `]}` }

const web = `{"hostPort":8080,"containerPort":80,"protocol":"tcp"}`

// The same mapping twice counts once, also if one is of a family and the other of both. The last
// list wins.
func TestMappings(t *testing.T) {
	at := func(ip string) string {
		return strings.Replace(web, "}", `,"hostIP":"`+ip+`"}`, 1)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"none":                          {"", ""},
		"null":                          {`,"runtimeConfig":{"portMappings":null}`, ""},
		"one":                           {mapped(web), "tcp 8080>80"},
		"protocols in any case":         {mapped(`{"hostPort":1,"containerPort":2,"protocol":"UDP"},{"hostPort":1,"containerPort":3,"protocol":"Sctp"}`), "udp 1>2, sctp 1>3"},
		"twice":                         {mapped(web + "," + web), "tcp 8080>80"},
		"of all and of one family":      {mapped(web + "," + at("0.0.0.0") + "," + at("::")), "tcp 8080>80"},
		"of IPv4 and of all":            {mapped(at("0.0.0.0") + "," + web), "tcp 0.0.0.0:8080>80, tcp [::]:8080>80"},
		"of IPv6 and of all":            {mapped(at("::") + "," + web), "tcp [::]:8080>80, tcp 0.0.0.0:8080>80"},
		"of each family and of all":     {mapped(at("::") + "," + at("0.0.0.0") + "," + web), "tcp [::]:8080>80, tcp 0.0.0.0:8080>80"},
		"of an address and of all":      {mapped(at("10.1.2.3") + "," + web), "tcp 10.1.2.3:8080>80, tcp 8080>80"},
		"of an IPv4 address in IPv6":    {mapped(at("::ffff:10.1.2.3") + "," + at("10.1.2.3")), "tcp 10.1.2.3:8080>80"},
		"the right ones of a wrong key": {mapped(`{"hostPort":0},` + web), "tcp 8080>80"},
		"the last list":                 {mapped(`{"hostPort":1,"containerPort":1,"protocol":"tcp"}`) + mapped(web), "tcp 8080>80"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []string
			for _, p := range keys(t, tt.text).ports {
				at := strconv.Itoa(int(p.HostPort))
				if p.HostIP.IsValid() {
					at = netip.AddrPortFrom(p.HostIP, p.HostPort).String()
				}
				list = append(list, p.Protocol.String()+" "+at+">"+strconv.Itoa(int(p.ContainerPort)))
			}
			if got := strings.Join(list, ", "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// Both syntaxes say the same.
func TestConditionsOfBothSyntaxes(t *testing.T) {
	for iptables, nftables := range map[string]string{
		`"-s","10.0.0.0/8"`:                                               `"ip","saddr","10.0.0.0/8"`,
		`"-s","10.0.0.0/255.0.0.0"`:                                       `"ip saddr == 10.0.0.0/8"`,
		`"--source","10.1.2.3"`:                                           `"ip","saddr","{10.1.2.3/32}"`,
		`"!","-d","10.0.0.0/8"`:                                           `"ip","daddr","!=","10.0.0.0/8"`,
		`"-s","10.0.0.0/8,192.168.0.0/16"`:                                `"ip saddr { 10.0.0.0/8, 192.168.0.0/16 }"`,
		`"-i","eth0","-o","veth+"`:                                        `"iifname","eth0","meta oifname \"veth*\""`,
		`"!","-i","eth+"`:                                                 `"meta","iifname","!=","eth*"`,
		`"-m","addrtype","--src-type","LOCAL"`:                            `"fib","saddr","type","local"`,
		`"-m addrtype ! --dst-type LOCAL"`:                                `"fib daddr type != local"`,
		`"--dst-type","LOCAL,UNICAST"`:                                    `"fib","daddr","type","{","local",",","unicast","}"`,
		`"! --src-type LOCAL,UNICAST -s ::1/0"`:                           `"fib saddr type != { local, unicast } ip6 saddr ::1/0"`,
		`"-m","comment","--comment","x","-d","fd00::/64","-m","addrtype"`: `"ip6","daddr","fd00::/64"`,
	} {
		family, key := 0, "conditionsV4"
		if strings.Contains(iptables, "::") {
			family, key = 1, "conditionsV6"
		}
		var read [2][]nft.Condition
		for i, words := range []string{iptables, nftables} {
			k := keys(t, `,"`+key+`":[`+words+`]`+mapped(web))
			if k.err != nil {
				t.Errorf("%s: %v", words, k.err)
			}
			read[i] = k.conditions[family]
		}
		if len(read[0]) == 0 || !reflect.DeepEqual(read[0], read[1]) {
			t.Errorf("%s:\n%+v\n%s:\n%+v", iptables, read[0], nftables, read[1])
		}
	}
}

// Conditions that can't be carried out don't matter without mappings.
func TestConditionsOfNothing(t *testing.T) {
	const words = `,"conditionsV4":["tcp","sport","7"]`
	if k := keys(t, words); k.err != nil {
		t.Error(k.err)
	}
	if k := keys(t, words+mapped(web)); k.err == nil || k.err.Key != "conditionsV4" {
		t.Error(k.err)
	}
}

// A publication leads to the first address of each family that is the attachment's.
func TestPublication(t *testing.T) {
	a := spec.Attachment{ContainerID: "c1", IfName: "eth0"}
	ip := func(addr string, of int) spec.IP {
		return spec.IP{Address: netip.MustParsePrefix(addr), Interface: of}
	}
	prev := &spec.Result{
		Interfaces: []spec.Interface{{Name: "br0"}, {Name: "eth0"}, {Name: "eth1", Sandbox: "/n"}, {Name: "eth0", Sandbox: "/n"}},
		IPs: []spec.IP{ip("10.1.0.1/24", 0), ip("10.1.0.2/24", 1), ip("10.1.0.3/24", 2), ip("10.1.0.4/0", 3), ip("10.1.0.5/24", 3), ip("10.1.0.6/24", 3),
			ip("fd00::1/64", spec.NoInterface), ip("fd00::2/64", 3)},
	}
	for name, tt := range map[string]struct {
		keys             string
		prev             *spec.Result
		hairpin, masqAll bool
		mark             uint32
		addrs            []string
	}{
		"as usual":                        {prev: prev, hairpin: true, addrs: []string{"10.1.0.5/24", "fd00::1/64"}},
		"without a result":                {hairpin: true},
		"all masqueraded":                 {keys: `,"masqAll":true`, hairpin: true, masqAll: true},
		"without snat":                    {keys: `,"masqAll":true,"snat":false`},
		"snat is null":                    {keys: `,"snat":false,"snat":null`, hairpin: true},
		"a mark":                          {keys: `,"markMasqBit":0`, hairpin: true, mark: 1},
		"the highest mark":                {keys: `,"markMasqBit":31`, hairpin: true, mark: 1 << 31},
		"a mark that firewall clears":     {keys: `,"markMasqBit":` + strconv.Itoa(bit(nft.AcceptMark)), hairpin: true},
		"an interface of another's index": {prev: &spec.Result{IPs: []spec.IP{ip("10.1.0.1/24", 7)}}, hairpin: true, addrs: []string{"10.1.0.1/24"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := keys(t, tt.keys).publication(&verbs.Call{Network: "net", Prev: tt.prev}, a)
			var addrs []string
			for _, p := range p.Addrs {
				addrs = append(addrs, p.String())
			}
			if p.Hairpin != tt.hairpin || p.MasqueradeAll != tt.masqAll || p.Mark != tt.mark || !slices.Equal(addrs, tt.addrs) ||
				p.Owner != (nft.Owner{Network: "net", ContainerID: "c1", IfName: "eth0"}) {
				t.Errorf("%+v", p)
			}
		})
	}
}

// bit is the number of a mark's only bit.
func bit(mark uint32) (n int) {
	for ; mark > 1; mark >>= 1 {
		n++
	}
	return n
}
