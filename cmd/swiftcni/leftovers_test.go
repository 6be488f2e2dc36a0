// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"

	"github.com/swiftcni/swiftcni/nft"
)

// TestFirewallLeftovers: what the reference's firewall plugin leaves after ADD, and after DEL, is
// seen in nftables' form.
func TestFirewallLeftovers(t *testing.T) {
	w := chainedWorld(t)
	for _, c := range []struct{ policy, verb string }{{"isolated", "ADD"}, {"isolated", "DEL"}} {
		conf := chainedText("firewall", "1.1.0", `"backend":"iptables","ingressPolicy":"`+c.policy+`",`)
		if a := w.chainedCall(referenceDir(), "firewall", c.verb, "", conf); a.status != 0 {
			t.Fatalf("%s: %s", c.verb, a.stdout)
		}
		var got []string
		if err := w.do("", func() error {
			conn, err := nft.Dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			for l, err := range conn.Leftovers(nil) {
				if err != nil {
					return err
				}
				what := string(l.Kind) + " " + l.Bridge
				if l.Addr.IsValid() {
					what += l.Addr.String()
				}
				got = append(got, what)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		// The policy stays; iptables alone knows it, ip6tables too.
		want := []string{"ingress policy br0", "ingress policy br0"}
		if c.verb == "ADD" {
			want = append(want, "way through the firewall 10.1.2.9", "way through the firewall fd00::9")
		}
		if !slices.Equal(got, want) {
			t.Errorf("after %s: %v, want %v", c.verb, got, want)
		}
	}
}
