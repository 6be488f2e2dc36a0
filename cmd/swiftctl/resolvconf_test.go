// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"github.com/swiftcni/swiftcni/cni"
)

func TestResolvConf(t *testing.T) {
	for _, test := range []struct {
		name string
		dns  cni.DNS
		want string
	}{
		{"nothing", cni.DNS{}, ""},
		{"empty lists", cni.DNS{Nameservers: []string{}, Search: []string{}, Options: []string{}}, ""},
		{"name servers, in order", cni.DNS{Nameservers: []string{"8.8.8.8", "2001:db8::1", "fe80::1%eth0"}},
			"nameserver 8.8.8.8\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\n"},
		{"search after domain, so that it's heeded", cni.DNS{Search: []string{"a.example", "example"}, Domain: "b.example"},
			"domain b.example\nsearch a.example example\n"},
		{"options", cni.DNS{Options: []string{"ndots:5", "rotate"}}, "options ndots:5 rotate\n"},
		{"all", cni.DNS{Nameservers: []string{"192.0.2.1"}, Domain: "d", Search: []string{"s"}, Options: []string{"o"}},
			"nameserver 192.0.2.1\ndomain d\nsearch s\noptions o\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := resolvConf(test.dns)
			if err != nil || got != test.want {
				t.Errorf("got %q, %v\nwant %q", got, err, test.want)
			}
		})
	}
}

func TestResolvConfRefusesWhatIsNoWord(t *testing.T) {
	for _, s := range []string{"", "a b", "a\nb", "a\r", "a\tb", "\x00", "a\u00a0b", "a\u2028b", "\xff"} {
		for name, dns := range map[string]cni.DNS{
			"name server": {Nameservers: []string{s}},
			"zone":        {Nameservers: []string{"fe80::1%" + s}},
			"search":      {Search: []string{"ok", s}},
			"options":     {Options: []string{s}},
			"domain":      {Domain: s},
		} {
			if s == "" && name == "domain" {
				continue // unset
			}
			if text, err := resolvConf(dns); err == nil {
				t.Errorf("%s %q became %q", name, s, text)
			}
		}
	}
}
