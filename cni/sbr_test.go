// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

const sbrDual = `"isGateway": true, "ipam": { "type": "static", "addresses": [ { "address": "10.6.NET.2/24" }, { "address": "fd00:6:NET::2/64" } ],
	"routes": [ { "dst": "0.0.0.0/0" }, { "dst": "::/0" }, { "dst": "198.51.100.0/24", "gw": "10.6.NET.9" } ] }`

// sbrWorld attaches a container to two bridges, by eth0 and eth1, and returns eth1's attachment and result.
func sbrWorld(t *testing.T) (Attachment, *Result) {
	t.Helper()
	last := attachment(t, "c1")
	var res *Result
	for i, ifName := range []string{"eth0", "eth1"} {
		last.IfName = ifName
		a := last
		keys := strings.ReplaceAll(sbrDual, "NET", fmt.Sprint(i))
		if i == 0 {
			keys = strings.Replace(keys, `{ "dst": "0.0.0.0/0" }, { "dst": "::/0" },`, `{ "dst": "0.0.0.0/0", "priority": 50 }, { "dst": "::/0", "priority": 50 },`, 1)
		}
		n := network(t, keys)
		n = n.with(func(c *netconf.Network) { c.Name, c.Bridge.Name = c.Name+ifName, c.Bridge.Name+ifName })
		t.Cleanup(func() { removeLink(t, n.conf.Bridge.Name) })
		var err error
		if res, err = Attach(t.Context(), n, a); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = Detach(context.Background(), n, a) })
	}
	return last, res
}

// routed is what the container's rules and tables say.
func routed(t testing.TB, a Attachment) string {
	t.Helper()
	var b strings.Builder
	for _, family := range []string{"-4", "-6"} {
		b.WriteString(nstest.Run(t, a.NetNS, "ip", family, "rule"))
		b.WriteString(nstest.Run(t, a.NetNS, "ip", family, "route", "show", "table", "all"))
	}
	var lines []string
	for line := range strings.Lines(b.String()) {
		// The kernel's own address of the link comes up in its own time.
		if !strings.Contains(line, "fe80::") && !strings.Contains(line, "multicast") {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, "\n")
}

// What comes from eth1's addresses goes by eth1 alone, the rest by eth0, in both families, with real packets.
// inUse waits until an address of the host is in use: the kernel makes the route to one of IPv6 a little later.
func inUse(t *testing.T, addr string) {
	t.Helper()
	conn, err := rtnl.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.WaitLocal(netip.MustParseAddr(addr), time.Minute); err != nil {
		t.Fatal(err)
	}
}

func TestSBRRoutesBySource(t *testing.T) {
	a, prev := sbrWorld(t)
	before := routed(t, a)
	n := chained(t, "sbr", "", prev)
	res, err := sbrRoom.add(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	if res != n.told.Prev {
		t.Error("the result changed")
	}
	after := routed(t, a)
	for _, want := range []string{"from 10.6.1.2 lookup 100", "from fd00:6:1::2 lookup 101", "default via 10.6.1.1 dev eth1 table 100",
		"10.6.1.0/24 dev eth1 table 100 scope link src 10.6.1.2", "198.51.100.0/24 via 10.6.1.9 dev eth1 table 100",
		"default via fd00:6:1::1 dev eth1 table 101", "fd00:6:1::/64 dev eth1 table 101"} {
		if !strings.Contains(after, want) {
			t.Errorf("no %q in\n%s", want, after)
		}
	}
	for line := range strings.Lines(after) {
		if strings.Contains(line, "dev eth1") && !strings.Contains(line, "table") {
			t.Error("in the main table:", line)
		}
	}
	if strings.Contains(after, "10.6.1.0/24 dev eth1 table 101") {
		t.Error("IPv4 in an IPv6 address's table:", after)
	}
	// eth0's bridge is down: only what is routed by source arrives.
	br := strings.TrimSuffix(res0Bridge(prev), "eth1") + "eth0"
	nstest.Run(t, "", "ip", "link", "set", br, "down")
	for _, tt := range []struct{ from, to string }{{"10.6.1.2", "10.6.0.1"}, {"fd00:6:1::2", "fd00:6:0::1"}} {
		if strings.Contains(tt.to, ":") {
			continue // an address of IPv6 goes with its link
		}
		nstest.Run(t, a.NetNS, "ping", "-c1", "-W60", "-I", tt.from, tt.to)
	}
	if out, err := nstest.Command(a.NetNS, "ping", "-c1", "-W1", "-I", "10.6.0.2", "10.6.1.1").CombinedOutput(); err == nil {
		t.Errorf("what comes from eth0 went by eth1:\n%s", out)
	}
	nstest.Run(t, "", "ip", "link", "add", "beyond", "type", "veth", "peer", "name", "beyond1")
	defer removeLink(t, "beyond")
	nstest.Run(t, "", "ip", "address", "add", "fd00:b::1/64", "dev", "beyond", "nodad")
	nstest.Run(t, "", "ip", "link", "set", "beyond", "up")
	nstest.Run(t, "", "ip", "link", "set", "beyond1", "up")
	inUse(t, "fd00:b::1")
	nstest.Run(t, a.NetNS, "ping", "-c1", "-W60", "-I", "fd00:6:1::2", "fd00:b::1")

	if err := sbrRoom.check(t.Context(), n, a, prev); err != nil {
		t.Error("check:", err)
	}
	for range 2 {
		if err := sbrRoom.del(t.Context(), n, a); err != nil {
			t.Error(err)
		}
	}
	end := routed(t, a)
	if strings.Contains(end, "from 10.6") || strings.Contains(end, "from fd00") || strings.Contains(end, "table 10") {
		t.Errorf("left behind:\n%s", end)
	}
	for line := range strings.Lines(before) {
		if line = strings.TrimSpace(line); !strings.Contains(line, "eth1") && !strings.Contains(line, "eth0") && !strings.Contains(end, line) {
			t.Errorf("lost %q", line)
		}
	}
}

// res0Bridge is the name of the bridge that a result begins with.
func res0Bridge(res *Result) string { return res.Interfaces[0].Name }

// The link-local subnet stays where neighbour discovery looks for it, and so does a route that's no address's.
func TestSBRKeepsWhatIsntItsOwn(t *testing.T) {
	a, prev := sbrWorld(t)
	nstest.Run(t, a.NetNS, "ip", "route", "add", "203.0.113.0/24", "via", "192.0.2.77", "dev", "eth1", "onlink")
	nstest.Run(t, a.NetNS, "ip", "rule", "add", "from", "10.6.1.2", "fwmark", "7", "lookup", "150")
	nstest.Run(t, a.NetNS, "ip", "rule", "add", "from", "10.6.1.2", "lookup", "50")
	nstest.Run(t, a.NetNS, "ip", "rule", "add", "from", "10.6.1.2", "unreachable", "pref", "40000")
	nstest.Run(t, a.NetNS, "ip", "route", "add", "203.0.113.9", "dev", "eth0", "table", "101")
	n := chained(t, "sbr", "", prev)
	if _, err := sbrRoom.add(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	after := routed(t, a)
	for _, want := range []string{"203.0.113.0/24 via 192.0.2.77 dev eth1 onlink", "from 10.6.1.2 lookup 100", "from fd00:6:1::2 lookup 102"} {
		if !strings.Contains(after, want) {
			t.Errorf("no %q in\n%s", want, after)
		}
	}
	if out := nstest.Run(t, a.NetNS, "ip", "-6", "route", "show", "dev", "eth1"); !strings.Contains(out, "fe80::/64") {
		t.Errorf("the link-local subnet is gone:\n%s", out)
	}
	if err := sbrRoom.del(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	after = routed(t, a)
	for _, want := range []string{"from 10.6.1.2 fwmark 0x7 lookup 150", "from 10.6.1.2 lookup 50", "from 10.6.1.2 unreachable", "203.0.113.9 dev eth0 table 101"} {
		if !strings.Contains(after, want) {
			t.Errorf("no %q any more in\n%s", want, after)
		}
	}
}

// The interface is gone, and with it its addresses; the rules go all the same.
func TestSBRDelWithoutTheInterface(t *testing.T) {
	for name, bare := range map[string]bool{"with prevResult": false, "with nothing": true} {
		t.Run(name, func(t *testing.T) {
			a, prev := sbrWorld(t)
			n := chained(t, "sbr", "", prev)
			if _, err := sbrRoom.add(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			nstest.Run(t, a.NetNS, "ip", "link", "del", "eth1")
			if bare {
				n = chained(t, "sbr", "", nil)
			}
			if err := sbrRoom.del(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			if out := routed(t, a); strings.Contains(out, "from 10.6") || strings.Contains(out, "from fd00") {
				t.Errorf("left behind:\n%s", out)
			}
		})
	}
	for _, path := range []string{"", "/run/netns/nobody"} {
		if err := sbrRoom.del(t.Context(), chained(t, "sbr", "", nil), Attachment{ContainerID: "c1", IfName: "eth0", NetNS: path}); err != nil {
			t.Error(path, err)
		}
	}
}

// The reference's rules, which nothing marks, are the attachment's if they lead from its address to a chosen table.
func TestSBRDelOfTheReferences(t *testing.T) {
	a, prev := sbrWorld(t)
	nstest.Run(t, a.NetNS, "ip", "rule", "add", "from", "10.6.1.2", "lookup", "100")
	nstest.Run(t, a.NetNS, "ip", "rule", "add", "from", "10.6.0.2", "lookup", "101")
	if err := sbrRoom.del(t.Context(), chained(t, "sbr", "", prev), a); err != nil {
		t.Fatal(err)
	}
	if out := routed(t, a); strings.Contains(out, "from 10.6.1.2") || !strings.Contains(out, "from 10.6.0.2 lookup 101") {
		t.Error(out)
	}
}

func TestSBRKeys(t *testing.T) {
	for name, tt := range map[string]struct {
		keys string
		want []string
		not  []string
	}{
		"table": {`, "table": 500`, []string{"from 10.6.1.2 lookup 500", "from fd00:6:1::2 lookup 500", "\ndefault via 10.6.1.1 dev eth1"}, []string{"table 500"}},
		"gateways": {`, "gateways": [ "10.6.1.77", "fd00:6:1::77" ]`, []string{"default via 10.6.1.77 dev eth1 table 100", "default via fd00:6:1::77 dev eth1 table 101"},
			[]string{"default via 10.6.1.1 dev eth1"}},
		"source hints": {`, "addSourceHints": true`, []string{"10.6.1.0/24 dev eth1 table 100", "\n10.6.1.0/24 dev eth1", "\nfd00:6:1::/64 dev eth1 src fd00:6:1::2", "default via 10.6.1.1 dev eth1 table 100"},
			[]string{"\ndefault via 10.6.1.1 dev eth1 \n"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, prev := sbrWorld(t)
			n := chained(t, "sbr", tt.keys, prev)
			if _, err := sbrRoom.add(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			out := routed(t, a)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			for _, not := range tt.not {
				if strings.Contains(out, not) {
					t.Errorf("%q in\n%s", not, out)
				}
			}
			if err := sbrRoom.check(t.Context(), n, a, prev); err != nil {
				t.Error(err)
			}
			if err := sbrRoom.del(t.Context(), n, a); err != nil {
				t.Fatal(err)
			}
			if out := routed(t, a); strings.Contains(out, "from 10.6") || strings.Contains(out, "from fd00") {
				t.Errorf("left behind:\n%s", out)
			}
		})
	}
}

// What is refused leaves the container as it was.
func TestSBRRefuses(t *testing.T) {
	a, prev := sbrWorld(t)
	none, other := *prev, *prev
	none.IPs = nil
	other.Interfaces = []Interface{{Name: "x"}, {Name: "y"}, {Name: "eth7", Sandbox: "z"}}
	before := routed(t, a)
	for name, tt := range map[string]struct {
		keys, ifName, want string
		prev               *Result
	}{
		"no prevResult":           {want: "must be called as chained plugin"},
		"no addresses":            {prev: &none, want: "No IP addresses supplied on interface: eth1"},
		"no such interface":       {prev: &other, ifName: "eth7", want: "Cannot find network interface eth7"},
		"table isn't a number":    {prev: prev, keys: `, "table": "x"`, want: `invalid "table"`},
		"table 0":                 {prev: prev, keys: `, "table": 0`, want: `invalid "table"`},
		"table of 33 bits":        {prev: prev, keys: `, "table": 4294967296`, want: `invalid "table"`},
		"gateway isn't one":       {prev: prev, keys: `, "gateways": [ "x" ]`, want: "invalid static gateway IP address"},
		"gateway is empty":        {prev: prev, keys: `, "gateways": [ "" ]`, want: "invalid static gateway IP address"},
		"two gateways":            {prev: prev, keys: `, "gateways": [ "10.6.1.1", "10.6.1.7" ]`, want: "gateways list contains multiple IPv4 addresses: 10.6.1.1 and 10.6.1.7"},
		"gateway isn't reachable": {prev: prev, keys: `, "gateways": [ "203.0.113.7" ]`, want: "route by source: network is unreachable; append route default via 203.0.113.7"},
		"hints aren't a boolean":  {prev: prev, keys: `, "addSourceHints": 1`, want: `invalid "addSourceHints"`},
	} {
		t.Run(name, func(t *testing.T) {
			a := a
			if tt.ifName != "" {
				a.IfName = tt.ifName
			}
			if _, err := sbrRoom.add(t.Context(), chained(t, "sbr", tt.keys, tt.prev), a); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if after := routed(t, a); after != before {
				t.Errorf("was\n%s\nis\n%s", before, after)
			}
		})
	}
	// Addresses that are all others' are nothing to route by, and no mistake.
	if _, err := sbrRoom.add(t.Context(), chained(t, "sbr", "", &other), a); err != nil {
		t.Error("another's addresses:", err)
	}
	if after := routed(t, a); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
}

// A second ADD is told so; after the interface's death it isn't.
func TestSBRAgain(t *testing.T) {
	a, prev := sbrWorld(t)
	n := chained(t, "sbr", "", prev)
	if _, err := sbrRoom.add(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	before := routed(t, a)
	if _, err := sbrRoom.add(t.Context(), n, a); fault.Of(err).Code != CodeAttached {
		t.Error("twice:", err)
	}
	if after := routed(t, a); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	for name, spoil := range map[string]string{"rule": "ip rule del from 10.6.1.2", "routes": "ip -6 route flush table 101"} {
		words := strings.Fields(spoil)
		nstest.Run(t, a.NetNS, words[0], words[1:]...)
		if err := sbrRoom.check(t.Context(), n, a, prev); err == nil || !strings.Contains(err.Error(), "isn't routed by source") {
			t.Error(name, err)
		}
	}
}

// Calls in one container at once get tables of their own.
func TestSBRConcurrently(t *testing.T) {
	a, prev := sbrWorld(t)
	first := *prev
	first.IPs = nil
	for _, ip := range prev.IPs {
		ip.Address = netip.MustParsePrefix(strings.Replace(strings.Replace(ip.Address.String(), "10.6.1", "10.6.0", 1), "fd00:6:1", "fd00:6", 1))
		ip.Gateway = ip.Address.Masked().Addr().Next()
		first.IPs = append(first.IPs, ip)
	}
	first.Interfaces = []Interface{{}, {}, {Name: "eth0", Sandbox: a.NetNS}}
	var wg sync.WaitGroup
	for _, at := range []struct {
		ifName string
		prev   *Result
	}{{"eth0", &first}, {"eth1", prev}} {
		a := a
		a.IfName = at.ifName
		n := chained(t, "sbr", "", at.prev)
		wg.Go(func() {
			if _, err := sbrRoom.add(t.Context(), n, a); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	out := routed(t, a)
	for _, table := range []string{"100", "101", "102", "103"} {
		if strings.Count(out, "lookup "+table) != 1 {
			t.Errorf("table %s:\n%s", table, out)
		}
	}
}

// A container may lock its own namespace as the plugin does, and needs no right for that: no verb
// waits for it for good.
func TestSBRLockedByTheContainer(t *testing.T) {
	a, prev := sbrWorld(t)
	held, err := os.Open(a.NetNS) // the same file as /proc/self/ns/net inside
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal("the container can't lock it:", err)
	}
	n := chained(t, "sbr", "", prev)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := sbrRoom.add(ctx, n, a); err != nil {
		t.Error("ADD:", err)
	}
	if err := sbrRoom.check(ctx, n, a, prev); err != nil {
		t.Error("CHECK:", err)
	}
	if err := sbrRoom.del(ctx, n, a); err != nil {
		t.Error("DEL:", err)
	}
}
