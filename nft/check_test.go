// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/nstest"
)

func TestCheckNamesWhatIsMissing(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	for _, x := range []struct{ do, want string }{
		{"delete element inet swiftcni masq4-10.1.0.0/24 { 10.1.0.2 }", "element inet swiftcni masq4-10.1.0.0/24 10.1.0.2 is missing"},
		{"delete element inet swiftcni masq6-fd00-1--/64 { fd00:1::2 }", "element inet swiftcni masq6-fd00-1--/64 fd00:1::2 is missing"},
		{"delete element bridge swiftcni guarded { swc1 }", `element bridge swiftcni guarded "swc1" is missing`},
		{"delete element bridge swiftcni allowed { swc1 . 02:00:00:00:00:01 }", `allowed "swc1" . 02:00:00:00:00:01 is missing`},
		{"insert rule inet swiftcni masq4-10.1.0.0/24 accept", "rule of chain inet swiftcni masq4-10.1.0.0/24 is missing"},
		{"flush chain inet swiftcni masq4-10.1.0.0/24", "rule of chain inet swiftcni masq4-10.1.0.0/24 is missing"},
		{"flush chain bridge swiftcni prerouting", "rule of chain bridge swiftcni prerouting is missing"},
		{"add chain bridge swiftcni prerouting { policy drop; }", "chain bridge swiftcni prerouting is missing"},
		{"flush ruleset", "element inet swiftcni masq4-10.1.0.0/24 10.1.0.2 is missing"},
		{"delete element inet swiftcni masq4-10.1.0.0/24 { 10.1.0.2 }; add element inet swiftcni masq4-10.1.0.0/24 { 10.1.0.2 }", "is missing, found 10.1.0.2"},
	} {
		nstest.Run(t, ns, "nft", "flush ruleset")
		must(t, c.Attach(a))
		must(t, c.Check(a))
		nstest.Run(t, ns, "nft", x.do)
		err := c.Check(a)
		var missing *MissingError
		if !errors.As(err, &missing) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("after %s: got %v, want %s", x.do, err, x.want)
		}
	}
}

// A changed rule isn't taken for ours, even where only one value differs.
func TestCheckComparesRules(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := attachment("c1", "10.1.0.2/24")
	for _, rules := range []string{
		"ip saddr @C ip daddr != 10.1.1.0/24 ip daddr != 224.0.0.0/4 masquerade",
		"ip saddr @C ip daddr != 10.1.0.0/25 ip daddr != 224.0.0.0/4 masquerade",
		"ip saddr @C ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/5 masquerade",
		"ip saddr @C ip daddr != 10.1.0.0/24 ip daddr 224.0.0.0/4 masquerade",
		"ip saddr != @C ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4 masquerade",
		"ip daddr @C ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4 masquerade",
		"ip saddr @C ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4 counter masquerade",
		"ip saddr @C ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4 accept",
		"ip saddr @C ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4",
	} {
		must(t, c.Attach(a))
		text := strings.ReplaceAll("flush chain inet swiftcni C; add rule inet swiftcni C "+rules, "C", "masq4-10.1.0.0/24")
		nstest.Run(t, ns, "nft", text)
		if err := c.Check(a); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rules %q: got %v, want not exist", rules, err)
		}
		nstest.Run(t, ns, "nft", "flush ruleset")
	}
}
