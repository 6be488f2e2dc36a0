// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// The hash was seen in a comment that the CNI project's bridge plugin 1.9.1 wrote, as 1.10.0 does.
func TestReferenceHash(t *testing.T) {
	if got, want := referenceHash(Owner{"mynet", "c1", "eth0"}), "d23676b4f2d9fe04-f4d01f2ef4b92245"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// loadReference makes the rules that the CNI project's bridge plugin 1.9.1 and 1.10.0 make for c1
// and c2.
func loadReference(t testing.TB, ns string) {
	t.Helper()
	text, err := os.ReadFile("testdata/reference.ruleset")
	must(t, err)
	rules := strings.NewReplacer("HASH2", referenceHash(Owner{"mynet", "c2", "eth0"}), "OTHER", referenceHash(Owner{"other", "c1", "eth0"})).Replace(string(text))
	path := filepath.Join(t.TempDir(), "reference.nft")
	must(t, os.WriteFile(path, []byte(rules), 0o600))
	nstest.Run(t, ns, "nft", "-f", path)
}

const others = "172.19.1.3, 172.19.2.3, 172.19.2.4, vetha02ddee6, cni-br-iface-c2-eth0, cni-br-iface-c2-eth0-mac, 0a:3b:74:62:df:55"

func TestDetachRemovesWhatTheReferenceLeft(t *testing.T) {
	for name, detach := range map[string]func(*Conn, Owner) error{
		"Detach":      func(c *Conn, o Owner) error { return c.Detach(Sender{Owner: o}) },
		"DetachOwner": func(c *Conn, o Owner) error { return c.DetachOwner(o) },
	} {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			loadReference(t, ns)
			must(t, detach(c, Owner{"mynet", "c1", "eth0"}))
			l := list(t, ns)
			wants(t, l, false, "172.19.1.2", "fd00:1::2", "vetha02ddee5", "cni-br-iface-c1-eth0", "0a:3b:74:62:df:54")
			wants(t, l, true, strings.Split(others, ", ")...)
			must(t, detach(c, Owner{"mynet", "c1", "eth0"}))
			if after := list(t, ns); after != l {
				t.Errorf("detaching twice changed\n%s\nto\n%s", l, after)
			}
		})
	}
}

// Half of what the reference left, as when it was killed in its DEL.
func TestDetachFinishesTheReferencesDetach(t *testing.T) {
	for _, done := range []string{
		"flush chain bridge nat PREROUTING",
		"flush chain bridge nat cni-br-iface-c1-eth0; delete chain bridge nat cni-br-iface-c1-eth0-mac",
		"flush chain bridge nat PREROUTING; delete chain bridge nat cni-br-iface-c1-eth0",
		"flush chain bridge nat PREROUTING; flush chain bridge nat cni-br-iface-c1-eth0; delete chain bridge nat cni-br-iface-c1-eth0; delete chain bridge nat PREROUTING",
		"delete table inet cni_plugins_masquerade",
		"delete table bridge nat",
		"flush chain inet cni_plugins_masquerade masq_checks",
	} {
		ns := nstest.New(t, "host")
		loadReference(t, ns)
		nstest.Run(t, ns, "nft", done)
		must(t, dial(t, ns).Detach(Sender{Owner: Owner{"mynet", "c1", "eth0"}}))
		wants(t, list(t, ns), false, "vetha02ddee5", "cni-br-iface-c1", "172.19.1.2")
	}
}

func TestDetachExceptKnowsTheReferencesRules(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	loadReference(t, ns)
	must(t, c.DetachExcept("mynet", []Owner{{"mynet", "c2", "eth0"}}))
	l := list(t, ns)
	wants(t, l, false, "172.19.1.2", "fd00:1::2")
	wants(t, l, true, "172.19.1.3", "172.19.2.3", "172.19.2.4")
	must(t, c.DetachExcept("mynet", nil))
	wants(t, list(t, ns), false, "172.19.1.3")
}

// Without the reference's tables, its part of a Detach is questions in the send that is made
// anyway.
func TestProbesRideAlong(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	a := attachment("c1", "10.1.0.2/24")
	must(t, c.Attach(a))
	must(t, c.Attach(attachment("c2", "10.1.0.3/24")))
	// Generation, the element, three chains, how many members a set has; BEGIN, two deletions, END.
	if n := messages(c, func() { must(t, c.Detach(a)) }); n != 6+4 {
		t.Errorf("Detach sent %d messages, want 10", n)
	}
	// An earlier version may have made other elements, and elements may follow from two of these.
	if n := messages(c, func() { must(t, c.Detach(a)) }); n != 6+2 {
		t.Errorf("Detach of nothing sent %d messages, want 8", n)
	}
}
