// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range texts {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

var rulesets = map[string]Ruleset{
	"empty":      {},
	"ipv4":       {Subnets: prefixes("10.1.0.2/24")},
	"dual_guard": {Subnets: prefixes("10.1.0.2/24", "fd00:1::2/64"), Guard: true},
	"guard":      {Guard: true},
	"outbound":   {Subnets: prefixes("10.1.0.2/24", "fd00:1::2/64"), Outbound: [2]bool{true, true}},
	"lengths":    {Subnets: prefixes("192.168.7.129/25", "10.9.8.7/32", "172.16.0.1/12", "10.1.0.0/24", "10.1.0.9/24", "fd00::1/128", "2001:db8::1/61")},
}

// The text is what the nft program prints of the bytes that we send, and is kept as golden file.
func TestRulesetString(t *testing.T) {
	for name, r := range rulesets {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			must(t, c.Build(r))
			must(t, c.Build(r))
			if diff := cmp.Diff(list(t, ns), r.String()); diff != "" {
				t.Errorf("nft's text (-), ours (+):\n%s", diff)
			}
			path := filepath.Join("testdata", name+".nft")
			if *update {
				must(t, os.WriteFile(path, []byte(r.String()), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if diff := cmp.Diff(string(want), r.String()); diff != "" {
				t.Errorf("golden (-), got (+):\n%s", diff)
			}
		})
	}
}

// A ruleset and an attachment print commands that the nft program accepts with the same meaning.
func TestTextIsTakenByNft(t *testing.T) {
	a := guardedBy(attachment("c1", "10.1.0.2/24", "10.1.0.9/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	ours, theirs := nstest.New(t, "ours"), nstest.New(t, "theirs")
	must(t, dial(t, ours).Attach(a))
	path := filepath.Join(t.TempDir(), "ruleset.nft")
	must(t, os.WriteFile(path, []byte(needOf(a.elements()).String()+a.String()), 0o644))
	nstest.Run(t, theirs, "nft", "-f", path)
	if diff := cmp.Diff(list(t, theirs), list(t, ours)); diff != "" {
		t.Errorf("by nft (-), by Attach (+):\n%s", diff)
	}
	must(t, dial(t, theirs).CheckSender(a))
}
