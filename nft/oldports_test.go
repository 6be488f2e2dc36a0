// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// oldPublications are what testdata/old_ports.nft holds, which an earlier version made.
func oldPublications() []Publication {
	host := publication("c1", "10.1.0.2/24 fd00:1::2/64", 80)
	host.Ports = append(host.Ports, PortMapping{Protocol: UDP, HostIP: netip.MustParseAddr("192.0.2.1"), HostPort: 53, ContainerPort: 5353})
	all := publication("c2", "10.1.0.3/24", 8080)
	all.MasqueradeAll = true
	none := publication("c3", "10.1.0.4/24", 9090)
	none.Hairpin, none.Ports[0].Protocol = false, SCTP
	conditions := publication("c4", "10.1.0.5/25", 53)
	conditions.Ports[0].Protocol, conditions.Ports[0].ContainerPort = UDP, 53
	conditions.Conditions4 = portRulesets["ports_conditions"].Conditions4
	return []Publication{host, all, none, conditions}
}

// Elements that were taken over are those that Publish would have made.
func TestEarlierVersionsPortsAreTakenOver(t *testing.T) {
	fresh := nstest.New(t, "fresh")
	for _, p := range oldPublications() {
		publish(t, dial(t, fresh), p)
	}
	must(t, dial(t, fresh).Tidy())
	another := publication("c9", "10.1.0.9/24", 99)
	for name, do := range map[string]func(c *Conn) error{
		"tidy":    func(c *Conn) error { return c.Tidy() },
		"attach":  func(c *Conn) error { return c.Attach(attachment("c9", "10.1.0.9/24")) },
		"collect": func(c *Conn) error { _, err := c.UnpublishExcept("other", nil); return err },
		"publish": func(c *Conn) error { _, err := c.Publish(another); return err },
	} {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			load(t, ns, "old_ports")
			for _, p := range oldPublications() {
				must(t, c.CheckPublication(p))
			}
			must(t, do(c))
			_, err := c.Unpublish(another)
			must(t, err)
			must(t, c.Detach(attachment("c9", "10.1.0.9/24")))
			must(t, c.Tidy())
			if diff := cmp.Diff(sortedLines(list(t, fresh)), sortedLines(list(t, ns))); diff != "" && name != "attach" {
				t.Errorf("published (-), taken over (+):\n%s", diff)
			}
			for _, p := range oldPublications() {
				must(t, c.CheckPublication(p))
				_, err := c.Unpublish(p)
				must(t, err)
			}
			must(t, c.Tidy())
			if got := shapeOf(t, ns); got != "" {
				t.Errorf("at the end there is\n%s", got)
			}
		})
	}
}

func TestUnpublishOfAnEarlierVersionsPorts(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	load(t, ns, "old_ports")
	for i, p := range oldPublications() {
		removed, err := c.Unpublish(p)
		must(t, err)
		if want := []int{3, 1, 1, 1}[i]; len(removed) != want {
			t.Errorf("%s: removed %v, want %d", p.Owner, removed, want)
		}
		wants(t, list(t, ns), false, p.Owner.String())
	}
}

// The chain of masquerade for ports once stood among everybody's source NAT. The next change of the rules moves it, and
// so does garbage collection. It counts until then.
func TestFormerChainOfPortsIsMoved(t *testing.T) {
	p := publication("c1", "10.1.0.2/24", 80)
	for name, do := range map[string]func(c *Conn) error{
		"publish": func(c *Conn) error { _, err := c.Publish(publication("c2", "10.1.0.3/24", 81)); return err },
		"attach":  func(c *Conn) error { return c.Attach(attachment("c3", "10.2.0.2/16")) },
		"rebuild": func(c *Conn) error { return c.Rebuild() },
		"restore": func(c *Conn) error { return c.Restore(nil) },
		"collect": func(c *Conn) error { _, err := c.UnpublishExcept("other", nil); return err },
		"tidy":    func(c *Conn) error { return c.Tidy() },
		"empty": func(c *Conn) error {
			if _, err := c.Unpublish(p); err != nil {
				return err
			}
			return c.Tidy()
		},
	} {
		ns := nstest.New(t, "host")
		c := dial(t, ns)
		publish(t, c, p)
		nstest.Run(t, ns, "nft", `delete chain inet swiftcni masquerade-ports
add chain inet swiftcni postrouting-ports { type nat hook postrouting priority srcnat; }`)
		if err := c.CheckPublication(p); err == nil {
			t.Errorf("%s: a chain without rules passes", name)
		}
		nstest.Run(t, ns, "nft", `add rule inet swiftcni postrouting-ports ct status dnat meta mark & 0x2000 == 0x2000 ip daddr . ip saddr & 255.255.255.0 @hairpin4-24 masquerade
add rule inet swiftcni postrouting-ports ct status dnat meta mark & 0x2000 == 0x2000 ip saddr 127.0.0.0/8 masquerade`)
		must(t, c.CheckPublication(p))
		must(t, do(c))
		wants(t, list(t, ns), false, "postrouting-ports")
		wants(t, list(t, ns), name != "empty", "chain masquerade-ports")
		must(t, c.Detach(attachment("c3", "10.2.0.2/16")))
		for _, p := range []Publication{p, publication("c2", "10.1.0.3/24", 81)} {
			_, err := c.Unpublish(p)
			must(t, err)
		}
		must(t, c.Tidy())
		if got := shapeOf(t, ns); got != "" {
			t.Errorf("%s: at the end there is\n%s", name, got)
		}
	}
}
