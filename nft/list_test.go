// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func collect(t testing.TB, c *Conn, network string) []Sender {
	t.Helper()
	var as []Sender
	for a, err := range c.Senders(network) {
		must(t, err)
		as = append(as, a)
	}
	return as
}

func TestSendersAreWhatWasAttached(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	if as := collect(t, c, ""); as != nil {
		t.Fatalf("without any ruleset: got %v, want none", as)
	}
	a := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	b := attachment("c2", "10.1.0.3/25")
	other := guardedBy(Sender{Owner: Owner{"other", "c1", "eth0"}}, "swc3", "02:00:00:00:00:03")
	for _, x := range []Sender{b, a, other} {
		must(t, c.Attach(x))
	}
	nstest.Run(t, ns, "nft", `add element inet swiftcni masq4 { 9.9.9.9 comment "somebody's", 9.9.9.8 }; add set inet swiftcni masq4-other { type ipv4_addr; }; add set inet swiftcni own4-x { type ipv4_addr; }`)
	for network, want := range map[string][]Sender{"mynet": {a, b}, "": {a, b, other}, "other": {other}, "my": nil} {
		if diff := cmp.Diff(want, collect(t, c, network), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{})); diff != "" {
			t.Errorf("network %q: want (-), got (+):\n%s", network, diff)
		}
	}
}

func TestLongOwnerStaysUnique(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	id, network := strings.Repeat("0123456789abcdef", 4), strings.Repeat("n", 60)
	owners := []Owner{
		{"mynet", id, "eth0"}, {network, id, "eth0"}, {network + "x", id, "eth0"}, {network, id[1:], "eth0"}, {network, id + "x", "eth0"},
		{network, id, "eth1"}, {network, strings.Repeat(id, 4), "123456789012345"}, {"n", strings.Repeat(id, 4), "eth0"}, {"n", strings.Repeat(id, 4) + "x", "eth0"},
	}
	for i, o := range owners {
		a := guardedBy(attachment("", fmt.Sprintf("10.1.0.%d/24", i+2)), fmt.Sprint("swc", i), "02:00:00:00:00:01")
		a.Owner = o
		must(t, c.Attach(a))
		must(t, c.CheckSender(a))
		if s := o.Short(); s.Short() != s || len(s.String()) > maxOwner {
			t.Errorf("%v: Short %v isn't short", o, s)
		}
	}
	if s := owners[0].Short(); s != owners[0] {
		t.Errorf("%v was cut", owners[0])
	}
	if n := len(collect(t, c, "")); n != len(owners) {
		t.Errorf("got %d owners, want %d", n, len(owners))
	}
	if n := len(collect(t, c, network)); n != 5 {
		t.Errorf("network of a long name: got %d owners, want 5", n)
	}
	must(t, c.DetachOwner(owners[1]))
	as := collect(t, c, "")
	if slices.ContainsFunc(as, func(a Sender) bool { return a.Owner == owners[1].Short() }) || len(as) != len(owners)-1 {
		t.Errorf("after DetachOwner of one: got %v", as)
	}
}

func TestDetachExceptKeepsValidAndOtherNetworks(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	var valid []Owner
	for i := range 300 {
		a := guardedBy(attachment(fmt.Sprint("c", i), fmt.Sprintf("10.1.%d.%d/16", i/250, i%250+1)), fmt.Sprint("swc", i), "02:00:00:00:00:01")
		must(t, c.Attach(a))
		if i%3 == 0 {
			valid = append(valid, a.Owner)
		}
	}
	other := Sender{Owner: Owner{"mynet2", "c1", "eth0"}, Masquerade: prefixes("10.2.0.1/16")}
	must(t, c.Attach(other))
	must(t, c.DetachExcept("mynet", valid))
	if got := collect(t, c, "mynet"); len(got) != len(valid) {
		t.Errorf("got %d attachments, want %d", len(got), len(valid))
	}
	must(t, c.CheckSender(other))
	must(t, c.DetachExcept("mynet", nil))
	must(t, c.DetachExcept("nobody", nil))
	l := list(t, ns)
	wants(t, l, false, "mynet/", "swc")
	must(t, c.CheckSender(other))
}

func TestDetachOwnerTakesAll(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	must(t, c.DetachOwner(Owner{"mynet", "c1", "eth0"}))
	a := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	b := guardedBy(attachment("c2", "10.1.0.3/24"), "swc2", "02:00:00:00:00:02")
	must(t, c.Attach(a))
	must(t, c.Attach(b))
	must(t, c.DetachOwner(a.Owner, Owner{"mynet", "c9", "eth0"}))
	wants(t, list(t, ns), false, "c1/", "swc1", "02:00:00:00:00:01")
	must(t, c.CheckSender(b))
}

// A guard whose MAC the caller doesn't know any more is found by its link.
func TestDetachGuardByLinkAlone(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1"), "swc1", "02:00:00:00:00:01")
	must(t, c.Attach(a))
	a.Guard = &Guard{HostLink: "swc1"}
	must(t, c.Detach(a))
	wants(t, list(t, ns), false, "swc1")
}
