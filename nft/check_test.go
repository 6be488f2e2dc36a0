// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestCheckNamesWhatIsMissing(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	for _, x := range []struct{ do, want string }{
		{"delete element inet swiftcni masq4 { 10.1.0.2 }", "element inet swiftcni masq4 10.1.0.2 is missing"},
		{"delete element inet swiftcni masq6 { fd00:1::2 }", "element inet swiftcni masq6 fd00:1::2 is missing"},
		{"delete element inet swiftcni own4-24 { 10.1.0.2 . 10.1.0.0 }", "element inet swiftcni own4-24 10.1.0.2 . 10.1.0.0 is missing"},
		{"delete element inet swiftcni own6-64 { fd00:1::2 . fd00:1:: }", "element inet swiftcni own6-64 fd00:1::2 . fd00:1:: is missing"},
		{"delete element bridge swiftcni guarded { swc1 }", `element bridge swiftcni guarded "swc1" is missing`},
		{"delete element bridge swiftcni allowed { swc1 . 02:00:00:00:00:01 }", `allowed "swc1" . 02:00:00:00:00:01 is missing`},
		{"insert rule inet swiftcni postrouting accept", "rules of chain inet swiftcni postrouting is missing"},
		{"flush chain inet swiftcni postrouting", "rules of chain inet swiftcni postrouting is missing"},
		{"flush chain bridge swiftcni prerouting", "rules of chain bridge swiftcni prerouting is missing"},
		{"add chain bridge swiftcni prerouting { policy drop; }", "chain bridge swiftcni prerouting is missing"},
		{"flush ruleset", "element inet swiftcni masq4 10.1.0.2 is missing"},
		{"delete element inet swiftcni masq4 { 10.1.0.2 }; add element inet swiftcni masq4 { 10.1.0.2 }", "is missing, found 10.1.0.2"},
	} {
		nstest.Run(t, ns, "nft", "flush ruleset")
		must(t, c.Attach(a))
		must(t, c.CheckSender(a))
		nstest.Run(t, ns, "nft", x.do)
		err := c.CheckSender(a)
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
	const own, masquerade = "ip saddr . ip daddr & 255.255.255.0 @own4-24 return", "ip saddr @masq4 ip daddr != 224.0.0.0/4 masquerade"
	for _, rules := range [][2]string{
		{"ip saddr . ip daddr & 255.255.255.128 @own4-24 return", masquerade},
		{"ip saddr . ip daddr & 255.255.254.0 @own4-24 return", masquerade},
		{"ip daddr . ip saddr & 255.255.255.0 @own4-24 return", masquerade},
		{"ip saddr . ip daddr & 255.255.255.0 @own4-24 accept", masquerade},
		{"ip saddr . ip daddr & 255.255.255.0 != @own4-24 return", masquerade},
		{masquerade, own},
		{own, "ip saddr @masq4 ip daddr != 224.0.0.0/5 masquerade"},
		{own, "ip saddr @masq4 ip daddr 224.0.0.0/4 masquerade"},
		{own, "ip saddr != @masq4 ip daddr != 224.0.0.0/4 masquerade"},
		{own, "ip daddr @masq4 ip daddr != 224.0.0.0/4 masquerade"},
		{own, "ip saddr @masq4 ip daddr != 224.0.0.0/4 counter masquerade"},
		{own, "ip saddr @masq4 ip daddr != 224.0.0.0/4 accept"},
		{own, "ip saddr @masq4 ip daddr != 224.0.0.0/4"},
	} {
		must(t, c.Attach(a))
		const chain = "inet swiftcni postrouting"
		nstest.Run(t, ns, "nft", "flush chain "+chain+"; add rule "+chain+" "+rules[0]+"; add rule "+chain+" "+rules[1])
		if err := c.CheckSender(a); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rules %q: got %v, want not exist", rules, err)
		}
		nstest.Run(t, ns, "nft", "flush ruleset")
	}
}

// What others build meanwhile isn't missing.
func TestCheckBesideChanges(t *testing.T) {
	ns := nstest.New(t, "host")
	c, other := dial(t, ns), dial(t, ns)
	a, open := attachment("c1", "10.1.0.2/24"), allowance("c1", "10.1.0.2")
	must(t, c.Attach(a))
	must(t, c.Allow(open))
	ended := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for bits := 8; ; bits = 8 + (bits-7)%20 {
			b := attachment("c2", fmt.Sprintf("10.2.0.2/%d", bits))
			select {
			case <-stop:
				ended <- nil
				return
			default:
			}
			if err := errors.Join(other.Attach(b), other.Detach(b), other.Tidy()); err != nil {
				ended <- err
				return
			}
		}
	}()
	for range 200 {
		for _, err := range []error{c.CheckSender(a), c.CheckAllowance(open)} {
			if err != nil && !errors.Is(err, ErrInterrupted) {
				t.Error(err)
			}
		}
	}
	close(stop)
	must(t, <-ended)
}
