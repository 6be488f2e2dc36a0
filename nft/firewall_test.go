// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func allowance(container string, addrs ...string) Allowance {
	o := Allowance{Owner: Owner{"mynet", container, "eth0"}}
	for _, a := range addrs {
		o.Addrs = append(o.Addrs, netip.MustParseAddr(a))
	}
	return o
}

// newFirewallWorld is a host that forwards nothing of its own accord, and an outside that knows the
// way back.
func newFirewallWorld(t testing.TB) world {
	w := newWorld(t)
	ip(t, w.outside, `route add 10.0.0.0/8 via 198.51.100.1
		route add fd00::/16 via 2001:db8::1`)
	// Its answers to c1 pass the host, too.
	ip(t, w.c2, `addr del 10.1.0.3/24 dev eth0
		route add default via 10.2.0.1
		route add default via fd00:2::1`)
	return w
}

func iptables(t testing.TB, w world, args string) string {
	t.Helper()
	out := nstest.Run(t, w.host, "iptables", strings.Fields(args)...)
	return out + nstest.Run(t, w.host, "ip6tables", strings.Fields(args)...)
}

// passes sends a datagram and its answer.
func (d datagram) passes(t testing.TB, want bool, why string) {
	t.Helper()
	var got bool
	for range tries {
		if _, got = d.send(t, want, want); got || !want {
			break
		}
	}
	if got != want {
		t.Errorf("to %s: answered %v, want %v: %s", d.to, got, want, why)
	}
}

func TestOpenLeadsThroughIptables(t *testing.T) {
	nstest.Full(t, "it takes long")
	w := newFirewallWorld(t)
	iptables(t, w, "-P FORWARD DROP")
	four, six := datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}, datagram{from: w.c1, at: w.outside, to: "2001:db8::2"}
	back := datagram{from: w.outside, at: w.c1, to: "10.1.0.2"}
	expect := func(open bool, why string) {
		t.Helper()
		four.passes(t, open, why)
		six.passes(t, open, why)
		back.passes(t, false, "from outside")
	}
	c1 := allowance("c1", "10.1.0.2", "fd00:1::2")
	expect(false, "not opened")
	must(t, w.conn.Allow(c1))
	expect(true, "opened")
	must(t, w.conn.CheckAllowance(c1))
	datagram{from: w.c2, at: w.outside, to: "198.51.100.2"}.passes(t, false, "c2 isn't open")

	rules := iptables(t, w, "-S")
	wants(t, rules, true, `-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`,
		`-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN`,
		`-A CNI-FORWARD -m comment --comment "CNI firewall plugin rules" -m mark --mark 0x1000/0x1000 -j ACCEPT`)
	must(t, w.conn.Allow(c1))
	for i := range 50 {
		must(t, w.conn.Allow(allowance(fmt.Sprint("n", i), fmt.Sprint("10.1.0.", 100+i))))
	}
	if diff := cmp.Diff(rules, iptables(t, w, "-S")); diff != "" {
		t.Error("more containers changed the rules", diff)
	}
	iptables(t, w, "-A CNI-ADMIN -j DROP")
	expect(false, "the administrator's rule")
	must(t, w.conn.CheckAllowance(c1))
	iptables(t, w, "-F CNI-ADMIN")
	expect(true, "without the administrator's rule")

	for _, flush := range []string{"-F FORWARD", "-F CNI-FORWARD", "-F"} {
		iptables(t, w, flush)
		expect(false, flush)
		if err := w.conn.CheckAllowance(c1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("check after iptables %s: %v", flush, err)
		}
		must(t, w.conn.Allow(allowance("c9", "10.1.0.99", "fd00:1::99")))
		must(t, w.conn.CheckAllowance(c1))
		expect(true, "repaired after "+flush)
	}
	if diff := cmp.Diff(rules, iptables(t, w, "-S")); diff != "" {
		t.Error("repairs changed the rules", diff)
	}
	must(t, w.conn.Revoke(c1, func(list []Allowed) error { return fmt.Errorf("told of %v, which isn't delegated", list) }))
	expect(false, "shut")
}

// A way that iptables saved and restored is still the same.
func TestOpeningSurvivesSavingAndRestoring(t *testing.T) {
	w := newFirewallWorld(t)
	iptables(t, w, "-P FORWARD DROP")
	c1 := allowance("c1", "10.1.0.2", "fd00:1::2")
	must(t, w.conn.Allow(c1))
	nstest.Run(t, w.host, "sh", "-c", "iptables-save | iptables-restore; ip6tables-save | ip6tables-restore")
	must(t, w.conn.CheckAllowance(c1))
	rules := iptables(t, w, "-S")
	iptables(t, w, "-A CNI-ADMIN -p sctp -j RETURN")
	must(t, w.conn.Allow(allowance("c3", "10.1.0.9", "fd00:1::9")))
	iptables(t, w, "-F CNI-ADMIN")
	if diff := cmp.Diff(rules, iptables(t, w, "-S")); diff != "" {
		t.Error("restored rules weren't recognized", diff)
	}
	datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}.passes(t, true, "restored")
}

// A firewall that comes after the containers finds the way that they take, in the form of its own
// program.
func TestOpenLeadsThroughWhatComesLater(t *testing.T) {
	nstest.Full(t, "it takes long")
	for name, comes := range map[string]string{
		"policy":  "iptables -P FORWARD DROP",
		"rules":   "iptables -A FORWARD -j DROP",
		"restore": "printf '*filter\n:FORWARD DROP\n:later - [0:0]\n-A FORWARD -j later\nCOMMIT\n' | iptables-restore -n",
		"docker":  "iptables -N DOCKER-USER; iptables -I FORWARD -j DOCKER-USER; iptables -P FORWARD DROP",
	} {
		t.Run(name, func(t *testing.T) {
			w := newFirewallWorld(t)
			c1 := allowance("c1", "10.1.0.2")
			must(t, w.conn.Allow(c1))
			must(t, w.conn.CheckAllowance(c1))
			nstest.Run(t, w.host, "sh", "-c", comes)
			must(t, w.conn.CheckAllowance(c1))
			datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}.passes(t, true, "came later")
			datagram{from: w.c2, at: w.outside, to: "198.51.100.2"}.passes(t, false, "c2 isn't open")
			wants(t, list(t, w.host), false, "table ip6 filter") // no address of that family

			nstest.Run(t, w.host, "nft", "delete", "table", "ip", "filter")
			if err := w.conn.CheckAllowance(c1); !errors.Is(err, fs.ErrNotExist) {
				t.Error("check without the table:", err)
			}
			must(t, w.conn.Allow(allowance("c9", "10.1.0.99")))
			must(t, w.conn.CheckAllowance(c1))
		})
	}
}

// The table is the one that iptables-nft would have made for the same rules.
func TestOpenMakesTheTableOfIptables(t *testing.T) {
	ours, theirs := nstest.New(t, "ours"), nstest.New(t, "theirs")
	must(t, dial(t, ours).Allow(allowance("c1", "10.1.0.2", "fd00:1::2")))
	for _, program := range []string{"iptables-nft", "ip6tables-nft"} {
		for _, args := range [][]string{{"-N", cniForward}, {"-N", DefaultAdminChain},
			{"-I", forwardChain, "-m", "comment", "--comment", firewallComment, "-j", cniForward},
			{"-I", cniForward, "-m", "comment", "--comment", firewallComment, "-m", "mark", "--mark", "0x1000/0x1000", "-j", "ACCEPT"},
			{"-I", cniForward, "-m", "comment", "--comment", adminComment, "-j", DefaultAdminChain}} {
			nstest.Run(t, theirs, program, args...)
		}
		for _, args := range [][]string{{program, "-S"}, {program, "-nvL"}} {
			got := nstest.Run(t, ours, args[0], args[1:]...)
			if diff := cmp.Diff(nstest.Run(t, theirs, args[0], args[1:]...), got); diff != "" {
				t.Errorf("%v: iptables' (-), ours (+): %s", args, diff)
			}
		}
	}
	chains := func(ns, family string) string {
		l := nstest.Run(t, ns, "nft", "list", "table", family, "filter")
		// Newer versions of iptables write this one match in nftables' form, and all of them read
		// xtables'.
		l = strings.ReplaceAll(l, " meta mark & 0x00001000 == 0x00001000", " mark and 0x1000 == 0x1000")
		lines := strings.Split(l, "\n")
		slices.Sort(lines) // the order of chains is that of their making
		return strings.Join(lines, "\n")
	}
	for _, family := range []string{"ip", "ip6"} {
		if diff := cmp.Diff(chains(theirs, family), chains(ours, family)); diff != "" {
			t.Errorf("%s: iptables' (-), ours (+): %s", family, diff)
		}
	}
}

// The mark means something between our two chains only, and nobody else's opens anything.
func TestAcceptMarkStaysInside(t *testing.T) {
	w := newFirewallWorld(t)
	iptables(t, w, "-P FORWARD DROP")
	must(t, w.conn.Allow(allowance("c1", "10.1.0.2")))
	nstest.Run(t, w.host, "nft", `table ip test { chain early { type filter hook prerouting priority -150; meta mark set 0x1001; }
		chain late { type filter hook postrouting priority 0; meta mark & 0x1000 != 0 counter drop; meta mark 1 counter; }; }`)
	datagram{from: w.c2, at: w.outside, to: "198.51.100.2"}.passes(t, false, "another's mark")
	datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}.passes(t, true, "our mark doesn't leave the hook")
	if l := nstest.Run(t, w.host, "nft", "list", "chain", "ip", "test", "late"); strings.Contains(l, "counter packets 0 bytes 0\n") {
		t.Error("other bits of the mark were lost:", l)
	}
}

func TestFirewallGolden(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	o := allowance("c1", "10.1.0.2", "fd00:1::2")
	o.Bridge, o.Ingress = "br0", IngressSameBridge
	must(t, c.Allow(o))
	got := list(t, ns)
	path := filepath.Join("testdata", "firewall.nft")
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error("golden (-), got (+):", diff)
	}
	for _, x := range firewallChains() {
		for _, r := range x.rules {
			wants(t, got, true, "\t\t"+r.text+"\n")
		}
	}
	must(t, c.CheckAllowance(o))
	other := nstest.New(t, "other")
	nstest.Run(t, other, "nft", "-f", path)
	must(t, dial(t, other).CheckAllowance(o))
}

// Two bridges: br0 has c1 and c2, which the host routes between, and br1 has c3.
func TestIngressPolicies(t *testing.T) {
	nstest.Full(t, "it takes long")
	w := newFirewallWorld(t)
	c3 := nstest.New(t, "c3")
	ip(t, w.host, `link add br1 type bridge
		link set br1 up
		addr add 10.3.0.1/24 dev br1
		link add swc3 type veth peer name eth0 netns `+c3+`
		link set swc3 master br1 up`)
	ip(t, c3, `link set eth0 up
		addr add 10.3.0.2/24 dev eth0
		route add default via 10.3.0.1`)
	open := func(network, container, addr, bridge string, i Ingress) {
		t.Helper()
		o := allowance(container, addr)
		o.Owner.Network, o.Bridge, o.Ingress = network, bridge, i
		must(t, w.conn.Allow(o))
		must(t, w.conn.CheckAllowance(o))
	}
	expect := func(across, within bool, why string) {
		t.Helper()
		datagram{from: w.c1, at: c3, to: "10.3.0.2"}.passes(t, across, why+": br0 to br1")
		datagram{from: c3, at: w.c1, to: "10.1.0.2"}.passes(t, across, why+": br1 to br0")
		datagram{from: w.c1, at: w.c2, to: "10.2.0.2"}.passes(t, within, why+": within br0")
		datagram{from: w.c1, at: w.outside, to: "198.51.100.2"}.passes(t, true, why+": to the outside")
	}
	open("a", "c1", "10.1.0.2", "br0", IngressOpen)
	open("b", "c3", "10.3.0.2", "br1", IngressOpen)
	expect(true, true, "open")
	open("a", "c1", "10.1.0.2", "br0", IngressSameBridge)
	expect(true, true, "the other bridge has no policy")
	open("b", "c3", "10.3.0.2", "br1", IngressIsolated)
	expect(false, true, "both have a policy")
	open("a", "c1", "10.1.0.2", "br0", IngressIsolated)
	expect(false, false, "isolated")
	open("c", "c2", "10.2.0.2", "br0", IngressSameBridge)
	expect(false, false, "another network's laxer policy doesn't count")

	// The network that's left has the say.
	must(t, w.conn.RevokeExcept("a", nil, nil))
	open("c", "c2", "10.2.0.2", "br0", IngressSameBridge)
	expect(false, true, "a is gone")
	must(t, w.conn.Revoke(Allowance{Owner: Owner{"c", "c2", "eth0"}}, nil))
	open("d", "c4", "10.2.0.9", "br0", IngressOpen)
	expect(true, true, "what nobody uses any more is found by the next")
}

// A network's GC leaves a policy that another network's container at the bridge has asked for, too.
func TestGCLeavesThePolicyOfASharedBridge(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	left := func(want int) {
		t.Helper()
		left, err := c.listIn(func() ([]set, error) { return c.there(firewallSets()) })
		must(t, err)
		if len(left) != want {
			t.Errorf("left, want %d: %v", want, left)
		}
	}
	for i, policy := range []Ingress{IngressIsolated, IngressSameBridge} {
		bridge := fmt.Sprint("br", i)
		nstest.Run(t, ns, "ip", "link", "add", bridge, "type", "bridge")
		var shared [2]Allowance
		for j, network := range []string{"a", "b"} {
			o := allowance(fmt.Sprint("c", j), fmt.Sprintf("10.%d.0.%d", i, j+1))
			o.Owner.Network, o.Bridge, o.Ingress = network, bridge, policy
			must(t, c.Allow(o))
			shared[j] = o
		}
		must(t, c.RevokeExcept("a", nil, nil))
		must(t, c.CheckAllowance(shared[1]))
		must(t, c.RevokeExcept("b", nil, nil))
		must(t, c.RevokeExcept("a", nil, nil))
		left(0)
	}
	// That of a bridge that's gone doesn't stay, though another network lives.
	other, gone := allowance("c1", "10.9.0.1"), allowance("c2", "10.9.0.2")
	other.Owner.Network, gone.Bridge, gone.Ingress = "other", "br9", IngressIsolated
	must(t, c.Allow(other))
	must(t, c.Allow(gone))
	must(t, c.RevokeExcept(gone.Owner.Network, nil, nil))
	left(1)
}

func TestShutTakesOnlyItsOwn(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	c1, c2 := allowance("c1", "10.1.0.2"), allowance("c2", "10.1.0.2")
	left := func(want ...string) {
		t.Helper()
		var got []string
		for o, err := range c.Allowed("mynet") {
			must(t, err)
			got = append(got, fmt.Sprint(o.Owner.ContainerID, " ", o.Addr, " ", o.Delegated))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	shut := func(o Allowance) {
		t.Helper()
		must(t, c.Revoke(o, nil))
	}
	shut(c1)
	must(t, c.Allow(c1))
	must(t, c.Allow(c2))
	shut(c1)
	left("c2 10.1.0.2 false")
	if err := c.CheckAllowance(c1); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "c2") {
		t.Error("check:", err)
	}
	delegated := allowance("c3", "10.1.0.3")
	delegated.Delegated = true
	must(t, c.Allow(delegated))
	left("c2 10.1.0.2 false", "c3 10.1.0.3 true")
	refusal := errors.New("not yet")
	if err := c.Revoke(delegated, func([]Allowed) error { return refusal }); err != refusal {
		t.Errorf("refused shut: %v", err)
	}
	left("c2 10.1.0.2 false", "c3 10.1.0.3 true")
	var told []Allowed
	must(t, c.RevokeExcept("mynet", []Owner{c2.Owner}, func(list []Allowed) error {
		told = append(told, list...)
		return nil
	}))
	if len(told) != 1 || !told[0].Delegated || told[0].Addr != delegated.Addrs[0] {
		t.Errorf("told of %v", told)
	}
	shut(Allowance{Owner: c2.Owner})
	shut(c2)
	left()
}

// Many at once on a host that has nothing yet: each gets through, and no rule is there twice.
func TestOpenConcurrently(t *testing.T) {
	ns := nstest.New(t, "host")
	nstest.Run(t, ns, "iptables", "-P", "FORWARD", "DROP")
	var wg sync.WaitGroup
	for i := range 8 {
		c := dial(t, ns)
		wg.Go(func() {
			if err := c.Allow(allowance(fmt.Sprint("c", i), fmt.Sprint("10.1.0.", 2+i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rules := nstest.Run(t, ns, "iptables", "-S")
	if n := strings.Count(rules, "-A "); n != 3 {
		t.Errorf("%d rules:\n%s", n, rules)
	}
}

func TestShutRemovesTheReferencesRules(t *testing.T) {
	ns := nstest.New(t, "host")
	c := dial(t, ns)
	for _, line := range []string{"-N CNI-FORWARD", "-N CNI-ADMIN", "-I FORWARD -m comment --comment x -j CNI-FORWARD", "-I CNI-FORWARD -m comment --comment x -j CNI-ADMIN",
		"-A CNI-FORWARD -d 10.1.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT",
		"-A CNI-FORWARD -s 10.1.0.3/32 -j ACCEPT"} {
		nstest.Run(t, ns, "iptables", strings.Fields(line)...)
	}
	must(t, c.Allow(allowance("c9", "10.1.0.9")))
	must(t, c.CheckAllowance(allowance("c9", "10.1.0.9")))
	must(t, c.Revoke(allowance("c1", "10.1.0.2"), nil))
	rules := nstest.Run(t, ns, "iptables", "-S")
	wants(t, rules, false, "10.1.0.2")
	wants(t, rules, true, "10.1.0.3")
	if n := strings.Count(rules, "-j CNI-"); n != 2 {
		t.Errorf("%d jumps:\n%s", n, rules)
	}
}

func TestOpeningsThatAreNone(t *testing.T) {
	c := dial(t, nstest.New(t, "host"))
	ok := allowance("c1", "10.1.0.2")
	for name, change := range map[string]func(*Allowance){
		"owner":     func(o *Allowance) { o.Owner.Network = "" },
		"address":   func(o *Allowance) { o.Addrs = []netip.Addr{{}} },
		"zone":      func(o *Allowance) { o.Addrs = []netip.Addr{netip.MustParseAddr("fe80::1%eth0")} },
		"bridge":    func(o *Allowance) { o.Bridge = "bridge0123456789" },
		"no bridge": func(o *Allowance) { o.Ingress = IngressIsolated },
		"policy":    func(o *Allowance) { o.Bridge, o.Ingress = "br0", 7 },
		"option":    func(o *Allowance) { o.AdminChain = "-x" },
		"space":     func(o *Allowance) { o.AdminChain = "a b" },
		"long":      func(o *Allowance) { o.AdminChain = strings.Repeat("x", 29) },
		"built in":  func(o *Allowance) { o.AdminChain = "FORWARD" },
		"loop":      func(o *Allowance) { o.AdminChain = "CNI-FORWARD" },
	} {
		o := ok
		change(&o)
		if err := c.Allow(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
