// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever message of ours the kernel may refuse for lack of an option says which: NAT,
// masquerading, routes' look-ups, connection tracking, and what a bridge's tables take.
func TestLackingNamesOptions(t *testing.T) {
	var b batch
	need := Ruleset{Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, Guard: true}.needs()
	p := Publication{Ports: []PortMapping{{HostPort: 8080, ContainerPort: 80, Protocol: TCP}}, Addrs: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/24")}, Hairpin: true}
	b.shape(survey{}, orderedSets(append(need.sets, p.needs().sets...)), need)
	b.buildFirewall()
	said := map[string]string{}
	for _, m := range b.messages() {
		if o := options(m); o != "" {
			err := lacking(&Error{Change: describe(m), Errno: unix.ENOENT, options: o})
			if !strings.Contains(err.Error(), "("+o+")") {
				t.Errorf("%q doesn't name %s", err, o)
			}
			said[o] += describe(m) + "\n"
		}
	}
	for _, want := range []string{"CONFIG_NFT_NAT", "CONFIG_NFT_MASQ", "CONFIG_NFT_FIB_INET", "CONFIG_NFT_CT", "CONFIG_NFT_BRIDGE_META", "CONFIG_NF_TABLES_INET", "CONFIG_NF_TABLES_BRIDGE"} {
		found := false
		for o := range said {
			found = found || strings.Contains(o, want)
		}
		if !found {
			t.Errorf("no message says %s: %v", want, said)
		}
	}
}
