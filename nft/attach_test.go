// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// dial returns a Conn in the namespace at path.
func dial(t testing.TB, path string) *Conn {
	t.Helper()
	var c *Conn
	var err error
	nstest.In(t, path, func() { c, err = Dial() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func attachment(container string, prefixes ...string) Sender {
	a := Sender{Owner: Owner{"mynet", container, "eth0"}}
	for _, p := range prefixes {
		a.Masquerade = append(a.Masquerade, netip.MustParsePrefix(p))
	}
	return a
}

func guardedBy(a Sender, link, mac string) Sender {
	m, err := net.ParseMAC(mac)
	if err != nil {
		panic(err)
	}
	a.Guard = &Guard{link, m}
	return a
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// list returns what the nft program lists.
func list(t testing.TB, path string) string {
	t.Helper()
	return nstest.Run(t, path, "nft", "list", "ruleset")
}

func wants(t testing.TB, listing string, present bool, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if strings.Contains(listing, s) != present {
			t.Fatalf("%q: want present %v in\n%s", s, present, listing)
		}
	}
}

func TestAttachDetach(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	a := guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")
	must(t, c.Attach(a))
	l := list(t, ns)
	t.Log(l)
	texts := []string{
		`10.1.0.2 comment "mynet/c1/eth0 /24"`,
		`10.1.0.2 . 10.1.0.0 comment "mynet/c1/eth0"`,
		`fd00:1::2 comment "mynet/c1/eth0 /64"`,
		`fd00:1::2 . fd00:1:: comment "mynet/c1/eth0"`,
		`"swc1" comment "mynet/c1/eth0 02:00:00:00:00:01"`,
		`"swc1" . 02:00:00:00:00:01 comment "mynet/c1/eth0"`,
	}
	wants(t, l, true, texts...)
	must(t, c.Attach(a))
	if again := list(t, ns); again != l {
		t.Fatalf("attaching twice: got\n%s, want\n%s", again, l)
	}
	must(t, c.Detach(a))
	wants(t, list(t, ns), false, texts...)
	must(t, c.Detach(a))
}
