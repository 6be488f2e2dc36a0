// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// publication maps host ports to ports of a container, one number higher.
func publication(container, addresses string, ports ...uint16) Publication {
	p := Publication{Owner: Owner{"mynet", container, "eth0"}, Hairpin: true}
	for _, a := range strings.Fields(addresses) {
		p.Addrs = append(p.Addrs, netip.MustParsePrefix(a))
	}
	for _, n := range ports {
		p.Ports = append(p.Ports, PortMapping{Protocol: TCP, HostPort: n, ContainerPort: n + 1})
	}
	return p
}

// publish wants no port to be held by another attachment.
func publish(t testing.TB, c *Conn, p Publication) {
	t.Helper()
	waiting, err := c.Publish(p)
	must(t, err)
	if waiting != nil {
		t.Errorf("%s waits for %v", p.Owner, waiting)
	}
}

func condition(field ConditionField, not bool, what string) Condition {
	c := Condition{Field: field, Not: not}
	if field == InLink || field == OutLink {
		c.Link = what
	} else {
		c.Prefix = netip.MustParsePrefix(what)
	}
	return c
}

var portRulesets = map[string]Publication{
	"ports4":     publication("c1", "10.1.0.2/24", 80),
	"ports_dual": publication("c1", "10.1.0.2/24 fd00:1::2/64", 80),
	"ports_conditions": {Owner: Owner{"mynet", "c1", "eth0"}, Addrs: prefixes("10.1.0.2/25", "fd00:1::2/61"),
		Ports: []PortMapping{{Protocol: UDP, HostPort: 53, ContainerPort: 53}},
		Conditions4: []Condition{condition(Source, false, "10.0.0.0/8"), condition(Source, true, "10.2.0.0/15"), condition(Destination, false, "192.0.2.1/32"),
			condition(InLink, false, "eth0"), condition(OutLink, true, "eth*")},
		Conditions6: []Condition{condition(Source, true, "fd00::/8"), condition(Destination, false, "2001:db8::/33")}},
	"ports_alternatives": {Owner: Owner{"mynet", "c1", "eth0"}, Addrs: prefixes("10.1.0.2/24"),
		Ports: []PortMapping{{Protocol: TCP, HostPort: 80, ContainerPort: 80}},
		Conditions4: []Condition{
			{Field: Source, Prefix: netip.MustParsePrefix("10.0.0.0/8"), Or: []Condition{condition(Source, false, "192.0.2.1/32")}},
			{Field: InLink, Link: "eth0", Or: []Condition{condition(InLink, false, "eth1")}},
			{Field: SourceType, Type: "unicast"}, {Field: DestinationType, Not: true, Type: "multicast"}}},
}

// The text is what the nft program prints of the bytes that we send, and is kept as golden file.
func TestPortRulesetString(t *testing.T) {
	for name, p := range portRulesets {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			must(t, c.reshape(p.needs(), nil))
			text := p.needs().String()
			if diff := cmp.Diff(list(t, ns), text); diff != "" {
				t.Errorf("nft's text (-), ours (+):\n%s", diff)
			}
			path := filepath.Join("testdata", name+".nft")
			if *update {
				must(t, os.WriteFile(path, []byte(text), 0o644))
			}
			want, err := os.ReadFile(path)
			must(t, err)
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("golden (-), got (+):\n%s", diff)
			}
		})
	}
}

// Rules that the nft program printed and took again are still the rules that CheckPublication
// wants.
func TestPortsSurviveSavingAndRestoring(t *testing.T) {
	for name, p := range portRulesets {
		t.Run(name, func(t *testing.T) {
			ours, theirs := nstest.New(t, "ours"), nstest.New(t, "theirs")
			publish(t, dial(t, ours), p)
			path := filepath.Join(t.TempDir(), "ruleset.nft")
			must(t, os.WriteFile(path, []byte(list(t, ours)), 0o644))
			nstest.Run(t, theirs, "nft", "-f", path)
			must(t, dial(t, theirs).CheckPublication(p))
		})
	}
}

func TestPublishTwiceAndUnpublishTwice(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	p := publication("c1", "10.1.0.2/24 fd00:1::2/64", 80, 443)
	p.Ports = append(p.Ports, PortMapping{Protocol: UDP, HostIP: netip.MustParseAddr("192.0.2.1"), HostPort: 53, ContainerPort: 5353})
	publish(t, c, p)
	before := list(t, ns)
	wants(t, before, true, `192.0.2.1 . 53 comment "mynet/c1/eth0" : 10.1.0.2 . 5353`, `443 comment "mynet/c1/eth0" : fd00:1::2 . 444`,
		`10.1.0.2 comment "mynet/c1/eth0 /24 3 h13"`)
	publish(t, c, p)
	if diff := cmp.Diff(before, list(t, ns)); diff != "" {
		t.Error("publishing twice changed", diff)
	}
	removed, err := c.Unpublish(p)
	must(t, err)
	if len(removed) != 5 {
		t.Errorf("removed %d mappings, want 5: %v", len(removed), removed)
	}
	wants(t, list(t, ns), false, "c1")
	removed, err = c.Unpublish(p)
	if err != nil || removed != nil {
		t.Error("unpublishing twice:", removed, err)
	}
}

func TestPublishAgainReplaces(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	publish(t, c, publication("c1", "10.1.0.2/24", 80, 81))
	p := publication("c1", "10.1.0.2/24", 81, 82)
	p.Ports[0].ContainerPort = 9
	publish(t, c, p)
	must(t, c.CheckPublication(p))
	l := list(t, ns)
	wants(t, l, false, "80 comment")
	wants(t, l, true, `81 comment "mynet/c1/eth0" : 10.1.0.2 . 9`)
}

func TestTakenPortNamesItsHolder(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	publish(t, c, publication("c1", "10.1.0.2/24", 80))
	before := list(t, ns)
	_, err := c.Publish(publication("c2", "10.1.0.3/24 fd00:1::3/64", 79, 80, 81))
	var taken *PortTakenError
	if !errors.As(err, &taken) || !errors.Is(err, fs.ErrExist) {
		t.Fatalf("got %v, want a PortTakenError", err)
	}
	if taken.Holder != (Owner{"mynet", "c1", "eth0"}) || taken.Mapping.HostPort != 80 || !strings.Contains(err.Error(), "mynet/c1/eth0") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, list(t, ns)); diff != "" {
		t.Error("the refused changed", diff)
	}
	// Another protocol, one address of the host's, other conditions are other mappings.
	p := publication("c2", "10.1.0.3/24", 80)
	p.Ports[0].Protocol = UDP
	publish(t, c, p)
	p = publication("c3", "10.1.0.4/24", 80)
	p.Ports[0].HostIP = netip.MustParseAddr("192.0.2.1")
	publish(t, c, p)
	p = publication("c4", "10.1.0.5/24", 80)
	p.Conditions4 = []Condition{condition(InLink, false, "eth9")}
	publish(t, c, p)
}

// An address that another owner has now: the one before is dead, and its ports go.
func TestAddressTakesItsPortsAlong(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	dead, live := publication("dead", "10.1.0.2/24", 80, 81), publication("live", "10.1.0.2/24", 81, 82)
	publish(t, c, dead)
	publish(t, c, live)
	wants(t, list(t, ns), false, "dead")
	must(t, c.CheckPublication(live))
	if removed, err := c.Unpublish(dead); err != nil || removed != nil {
		t.Error("a late DEL:", removed, err)
	}
	must(t, c.CheckPublication(live))
}

// DEL finds what a changed configuration doesn't name any more.
func TestUnpublishFindsTheUnnamed(t *testing.T) {
	conditions := publication("c1", "10.1.0.2/24", 80, 81)
	conditions.Conditions4 = []Condition{condition(Source, false, "10.0.0.0/8")}
	for name, x := range map[string]struct{ published, unpublished Publication }{
		"fewer ports":    {publication("c1", "10.1.0.2/24 fd00:1::2/64", 80, 81), publication("c1", "10.1.0.2/24 fd00:1::2/64", 80)},
		"no ports":       {publication("c1", "10.1.0.2/24", 80, 81), publication("c1", "10.1.0.2/24")},
		"no addresses":   {publication("c1", "10.1.0.2/24", 80, 81), publication("c1", "", 80, 81)},
		"nothing":        {publication("c1", "10.1.0.2/24", 80, 81), publication("c1", "")},
		"no conditions":  {conditions, publication("c1", "10.1.0.2/24", 80, 81)},
		"new conditions": {publication("c1", "10.1.0.2/24", 80, 81), conditions},
		"another subnet": {publication("c1", "10.1.0.2/24", 80), publication("c1", "10.1.0.2/16", 80)},
	} {
		t.Run(name, func(t *testing.T) {
			ns := nstest.New(t, "host")
			c := dial(t, ns)
			other := publication("c2", "10.1.0.3/24", 90)
			publish(t, c, other)
			publish(t, c, x.published)
			_, err := c.Unpublish(x.unpublished)
			must(t, err)
			wants(t, list(t, ns), false, "c1")
			must(t, c.CheckPublication(other))
		})
	}
}

func TestUnpublishExcept(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	valid := publication("valid", "10.1.0.2/24", 80)
	foreign := publication("foreign", "10.1.0.4/24", 82)
	foreign.Owner.Network = "other"
	for _, p := range []Publication{valid, publication("stale", "10.1.0.3/24 fd00:1::3/64", 81), foreign} {
		publish(t, c, p)
	}
	removed, err := c.UnpublishExcept("mynet", []Owner{valid.Owner})
	must(t, err)
	if len(removed) != 2 {
		t.Error("removed", removed)
	}
	wants(t, list(t, ns), false, "stale")
	must(t, errors.Join(c.CheckPublication(valid), c.CheckPublication(foreign)))
	n := 0
	for p, err := range c.Published("mynet") {
		must(t, err)
		if n++; p.Owner != valid.Owner || p.Target.String() != "10.1.0.2:81" || p.Mapping.String() != "tcp port 80 -> 81" {
			t.Error("published", p)
		}
	}
	if n != 1 {
		t.Errorf("%d mappings, want 1", n)
	}
}

func TestCheckPortsFindsWhatIsMissing(t *testing.T) {
	p := publication("c1", "10.1.0.2/24", 80)
	for _, command := range []string{
		"delete element inet swiftcni tcp4 { 80 }",
		"delete element inet swiftcni snat4 { tcp . 80 }",
		"delete element inet swiftcni published4 { 10.1.0.2 }",
		"delete element inet swiftcni hairpin4-24 { 10.1.0.2 . 10.1.0.0 }",
		"flush chain inet swiftcni ports",
		"flush chain inet swiftcni prerouting-ports",
		"flush chain inet swiftcni output-ports",
		"flush chain inet swiftcni masquerade-ports",
		"delete chain inet swiftcni localnet4",
		"insert rule inet swiftcni ports accept",
		"flush ruleset",
	} {
		ns := nstest.New(t, "host")
		c := dial(t, ns)
		publish(t, c, p)
		nstest.Run(t, ns, "nft", command)
		var missing *MissingError
		if err := c.CheckPublication(p); !errors.As(err, &missing) {
			t.Errorf("%s: got %v, want a MissingError", command, err)
		}
		publish(t, c, p)
	}
}

// countRules returns how many rules there are, whatever their chains.
func countRules(t *testing.T, ns string) (chains, rules int) {
	for line := range strings.Lines(list(t, ns)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "chain "):
			chains++
		case strings.HasSuffix(line, "masquerade"), strings.HasSuffix(line, "drop"), strings.Contains(line, "dnat ip"):
			rules++
		}
	}
	return chains, rules
}

// Neither the rules nor what Publish sends depend on how much is published.
func TestNothingGrows(t *testing.T) {
	nstest.Full(t, "it needs a socket buffer that only root may have")
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	publish(t, c, publication("first", "10.1.0.2/24", 1))
	chains, rules := countRules(t, ns)
	sent := messages(c, func() { publish(t, c, publication("c2", "10.1.0.3/24", 2)) })
	many := publication("many", "10.1.0.4/24 fd00:1::4/64")
	for n := range uint16(1000) {
		many.Ports = append(many.Ports, PortMapping{Protocol: TCP, HostPort: 10000 + n, ContainerPort: n + 1})
	}
	many4 := many
	many4.Addrs = many.Addrs[:1]
	publish(t, c, many4)
	if chains2, rules2 := countRules(t, ns); chains2 != chains || rules2 != rules || rules != 9 {
		t.Errorf("%d chains and %d rules with one port, %d and %d with 1,000", chains, rules, chains2, rules2)
	}
	if again := messages(c, func() { publish(t, c, publication("c3", "10.1.0.5/24", 3)) }); again != sent {
		t.Errorf("%d messages with few ports, %d with 1,000", sent, again)
	}
	must(t, c.CheckPublication(many4))
	// A refusal of a transaction this large is heard too.
	thief := many
	thief.Owner.ContainerID, thief.Addrs = "thief", prefixes("10.1.0.9/24", "fd00:1::9/64")
	var taken *PortTakenError
	if _, err := c.Publish(thief); !errors.As(err, &taken) {
		t.Errorf("got %v, want a PortTakenError", err)
	}
	publish(t, c, many)
	must(t, c.CheckPublication(many))
	removed, err := c.Unpublish(many)
	if err != nil || len(removed) != 2000 {
		t.Errorf("removed %d mappings: %v", len(removed), err)
	}
}

func TestPublishRefusesNonsense(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	good := func(change func(*Publication)) Publication {
		p := publication("c1", "10.1.0.2/24", 80)
		change(&p)
		return p
	}
	for name, p := range map[string]Publication{
		"no owner":       good(func(p *Publication) { p.Owner = Owner{} }),
		"two addresses":  good(func(p *Publication) { p.Addrs = prefixes("10.1.0.2/24", "10.1.0.3/24") }),
		"no address":     good(func(p *Publication) { p.Addrs = []netip.Prefix{{}} }),
		"host port":      good(func(p *Publication) { p.Ports[0].HostPort = 0 }),
		"container port": good(func(p *Publication) { p.Ports[0].ContainerPort = 0 }),
		"protocol":       good(func(p *Publication) { p.Ports[0].Protocol = 1 }),
		"host address":   good(func(p *Publication) { p.Ports[0].HostIP = netip.MustParseAddr("::ffff:10.0.0.1") }),
		"twice":          good(func(p *Publication) { p.Ports = append(p.Ports, p.Ports[0]) }),
		"twice, any": good(func(p *Publication) {
			p.Ports = append(p.Ports, p.Ports[0])
			p.Ports[1].HostIP = netip.IPv4Unspecified()
		}),
		"condition": good(func(p *Publication) { p.Conditions4 = []Condition{{Field: 9}} }),
		"prefix":    good(func(p *Publication) { p.Conditions4 = []Condition{condition(Source, false, "fd00::/8")} }),
		"type":      good(func(p *Publication) { p.Conditions4 = []Condition{{Field: SourceType, Type: "loopback"}} }),
		"or": good(func(p *Publication) {
			p.Conditions4 = []Condition{{Field: InLink, Link: "a", Or: []Condition{{Field: InLink}}}}
		}),
		"link": good(func(p *Publication) { p.Conditions6 = []Condition{condition(InLink, false, "a name too long")} }),
	} {
		if _, err := c.Publish(p); err == nil || errors.Is(err, fs.ErrExist) || strings.Contains(err.Error(), "create") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := dial(b, nstest.New(b, "host"))
			publish(b, c, publication("first", "10.1.0.2/24", 1))
			p := publication("c1", "10.1.0.3/24")
			for i := range n {
				p.Ports = append(p.Ports, PortMapping{Protocol: TCP, HostPort: uint16(10000 + i), ContainerPort: 80})
			}
			for b.Loop() {
				publish(b, c, p)
				b.StopTimer()
				_, err := c.Unpublish(p)
				must(b, err)
				b.StartTimer()
			}
		})
	}
}

func BenchmarkUnpublish1000(b *testing.B) {
	c := dial(b, nstest.New(b, "host"))
	p := publication("c1", "10.1.0.3/24")
	for i := range 1000 {
		p.Ports = append(p.Ports, PortMapping{Protocol: TCP, HostPort: uint16(10000 + i), ContainerPort: 80})
	}
	for b.Loop() {
		b.StopTimer()
		publish(b, c, p)
		b.StartTimer()
		_, err := c.Unpublish(p)
		must(b, err)
	}
}
