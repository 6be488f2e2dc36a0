// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/bandwidth"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// chained parses the configuration of a plugin that comes after another, with that one's result as a runtime hands it on.
func chained(t testing.TB, plugin, keys string, prev *Result) *Network {
	t.Helper()
	text := fmt.Sprintf(`{ "cniVersion": "1.1.0", "name": "chain%d", "type": %q %s }`, os.Getpid(), plugin, keys)
	if prev != nil {
		printed, err := json.Marshal(prev)
		if err != nil {
			t.Fatal(err)
		}
		text = withPrev(text, string(printed))
	}
	n, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// chainPtP attaches a container to the chain's network by ptp.
func chainPtP(t testing.TB, id, address string) (Attachment, *Result) {
	t.Helper()
	a := attachment(t, id)
	return a, joinPtP(t, a, address)
}

func joinPtP(t testing.TB, a Attachment, address string) *Result {
	t.Helper()
	p := netip.MustParsePrefix(address)
	n := chained(t, "ptp", fmt.Sprintf(`, "ipam": { "type": "static", "addresses": [ { "address": %q, "gateway": %q } ] }`, address, p.Masked().Addr().Next()), nil)
	res, err := ptpRoom.add(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ptpRoom.del(context.Background(), n, a) })
	return res
}

const bothLimits = `, "ingressRate": 80000000, "ingressBurst": 8000000, "egressRate": 40000000, "egressBurst": 4000000`

// ifbs lists the host's ifbs.
func ifbs(t testing.TB) string { return nstest.Run(t, "", "ip", "-br", "link", "show", "type", "ifb") }

// Packets of both directions pass their shapers, CHECK finds these, and DEL leaves nothing.
func TestBandwidthLimits(t *testing.T) {
	a, prev := chainPtP(t, "c1", "10.7.0.2/24")
	n := chained(t, "bandwidth", bothLimits, prev)
	res, err := bandwidthRoom.add(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	last := res.Interfaces[len(res.Interfaces)-1]
	if len(res.Interfaces) != len(prev.Interfaces)+1 || !strings.HasPrefix(last.Name, "bwp") || len(last.Name) != 15 || last.Sandbox != "" {
		t.Errorf("%+v", res.Interfaces)
	}
	nstest.Run(t, a.NetNS, "ping", "-c3", "-i0.01", "-W60", "10.7.0.1")
	host := prev.Interfaces[0].Name
	for link, want := range map[string]string{host: "rate 80Mbit burst 1000000b lat 25ms", last.Name: "rate 40Mbit burst 500000b lat 25ms"} {
		out := nstest.Run(t, "", "tc", "-s", "qdisc", "show", "dev", link, "root")
		if !strings.Contains(out, want) || strings.Contains(out, "Sent 0 bytes") {
			t.Errorf("%s: no %q in\n%s", link, want, out)
		}
	}
	check := chained(t, "bandwidth", bothLimits, res)
	if err := bandwidthRoom.check(t.Context(), check, a, res); err != nil {
		t.Error("check:", err)
	}
	for range 2 {
		if err := bandwidthRoom.del(t.Context(), n, a); err != nil {
			t.Error(err)
		}
	}
	if out := ifbs(t); out != "" {
		t.Error("left behind:", out)
	}
}

// A limit holds: what a container sends beyond it doesn't arrive. 20,000 bytes go at once, through a bucket of
// 2,000 and a queue of 2,025 more; all would fit only if 16 s passed meanwhile, and ping waits one for the last.
func TestBandwidthHolds(t *testing.T) {
	a, prev := chainPtP(t, "c1", "10.7.0.2/24")
	n := chained(t, "bandwidth", `, "runtimeConfig": { "bandwidth": { "egressRate": 8000, "egressBurst": 16000 } }`, prev)
	res, err := bandwidthRoom.add(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bandwidthRoom.del(t.Context(), n, a) }()
	_, _ = nstest.Command(a.NetNS, "ping", "-c20", "-i0.001", "-W1", "-s", "958", "10.7.0.1").CombinedOutput()
	out := nstest.Run(t, "", "tc", "-s", "qdisc", "show", "dev", res.Interfaces[2].Name, "root")
	if strings.Contains(out, "dropped 0,") || strings.Contains(out, "Sent 0 bytes") {
		t.Errorf("nothing was dropped:\n%s", out)
	}
}

// One direction alone leaves the other as it was.
func TestBandwidthOneDirection(t *testing.T) {
	for keys, want := range map[string]struct{ tbf, ifb bool }{
		`, "ingressRate": 80000, "ingressBurst": 80000`:                                        {tbf: true},
		`, "egressRate": 80000, "egressBurst": 80000`:                                          {ifb: true},
		`, "ingressRate": 0, "runtimeConfig": {"bandwidth": {"egressRate":8,"egressBurst":8}}`: {}, // the top level wins
		``: {},
	} {
		a, prev := chainPtP(t, "c1", "10.7.0.2/24")
		n := chained(t, "bandwidth", keys, prev)
		res, err := bandwidthRoom.add(t.Context(), n, a)
		if err != nil {
			t.Fatal(keys, err)
		}
		if got := strings.Contains(nstest.Run(t, "", "tc", "qdisc", "show", "dev", prev.Interfaces[0].Name), "tbf"); got != want.tbf {
			t.Errorf("%s: tbf %v", keys, got)
		}
		if got := ifbs(t) != ""; got != want.ifb {
			t.Errorf("%s: ifb %v", keys, got)
		}
		if !want.ifb && res != n.told.Prev {
			t.Errorf("%s: the result isn't the previous one's", keys)
		}
		if err := bandwidthRoom.del(t.Context(), n, a); err != nil {
			t.Error(err)
		}
		removeLink(t, prev.Interfaces[0].Name)
	}
}

// Two interfaces of one container in one network have a limit each, and DEL of one leaves the other's.
func TestBandwidthTwoInterfaces(t *testing.T) {
	a0, prev0 := chainPtP(t, "c1", "10.7.0.2/24")
	a1 := a0
	a1.IfName = "eth1"
	prev1 := joinPtP(t, a1, "10.7.1.2/24")
	n0, n1 := chained(t, "bandwidth", bothLimits, prev0), chained(t, "bandwidth", bothLimits, prev1)
	for _, at := range []struct {
		n *Network
		a Attachment
	}{{n0, a0}, {n1, a1}} {
		if _, err := bandwidthRoom.add(t.Context(), at.n, at.a); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Count(ifbs(t), "bwp"); got != 2 {
		t.Fatal(ifbs(t))
	}
	if err := bandwidthRoom.del(t.Context(), n0, a0); err != nil {
		t.Fatal(err)
	}
	if err := bandwidthRoom.check(t.Context(), n1, a1, prev1); err != nil {
		t.Error("the other's:", err)
	}
	if err := bandwidthRoom.gc(t.Context(), n1, []Attachment{a0}); err != nil {
		t.Fatal(err)
	}
	if out := ifbs(t); out != "" {
		t.Error("left behind by GC:", out)
	}
	if err := bandwidthRoom.del(t.Context(), n1, a1); err != nil {
		t.Error(err)
	}
}

// Without a list, GC keeps what's in use, and removes the ifb whose host end has gone: nothing can come to it.
func TestBandwidthGCWithoutAList(t *testing.T) {
	lost, prev := chainPtP(t, "c1", "10.7.0.2/24")
	lives, prev1 := chainPtP(t, "c2", "10.7.1.2/24")
	for a, p := range map[string]struct {
		a    Attachment
		prev *Result
	}{"lost": {lost, prev}, "lives": {lives, prev1}} {
		if _, err := bandwidthRoom.add(t.Context(), chained(t, "bandwidth", bothLimits, p.prev), p.a); err != nil {
			t.Fatal(a, err)
		}
	}
	n := chained(t, "bandwidth", bothLimits, prev1)
	collect := func(want int) {
		t.Helper()
		if err := bandwidthRoom.reclaim(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if out := ifbs(t); strings.Count(out, "bwp") != want {
			t.Errorf("%d ifbs should be there:\n%s", want, out)
		}
	}
	collect(2)
	removeLink(t, prev.Interfaces[0].Name)
	collect(1)
	if err := bandwidthRoom.check(t.Context(), n, lives, prev1); err != nil {
		t.Error("the other's:", err)
	}
	if err := bandwidthRoom.del(t.Context(), n, lives); err != nil {
		t.Error(err)
	}
}

// An ifb of a life that ended without DEL is replaced, and one that's in use is not.
func TestBandwidthAgain(t *testing.T) {
	a, prev := chainPtP(t, "c1", "10.7.0.2/24")
	n := chained(t, "bandwidth", bothLimits, prev)
	if _, err := bandwidthRoom.add(t.Context(), n, a); err != nil {
		t.Fatal(err)
	}
	before := ifbs(t) + nstest.Run(t, "", "tc", "qdisc") + nstest.Run(t, "", "tc", "filter", "show", "dev", prev.Interfaces[0].Name, "ingress")
	if _, err := bandwidthRoom.add(t.Context(), n, a); fault.Of(err).Code != CodeAttached {
		t.Error("twice:", err)
	}
	ingress := chained(t, "bandwidth", `, "ingressRate": 8, "ingressBurst": 8`, prev)
	if _, err := bandwidthRoom.add(t.Context(), ingress, a); fault.Of(err).Code != CodeAttached {
		t.Error("twice, the other way:", err)
	}
	if after := ifbs(t) + nstest.Run(t, "", "tc", "qdisc") + nstest.Run(t, "", "tc", "filter", "show", "dev", prev.Interfaces[0].Name, "ingress"); after != before {
		t.Errorf("was\n%s\nis\n%s", before, after)
	}
	removeLink(t, prev.Interfaces[0].Name) // the container's end goes with it, and the ifb stays
	a, prev = chainPtP(t, "c1", "10.7.0.2/24")
	n = chained(t, "bandwidth", bothLimits, prev)
	if _, err := bandwidthRoom.add(t.Context(), n, a); err != nil {
		t.Error("after a death:", err)
	}
	if err := bandwidthRoom.check(t.Context(), n, a, prev); err != nil {
		t.Error(err)
	}
	a.NetNS = ""
	if err := bandwidthRoom.del(t.Context(), chained(t, "bandwidth", `, "ingressRate": "nonsense"`, nil), a); err != nil {
		t.Error(err)
	}
	if out := ifbs(t); out != "" {
		t.Error("left behind:", out)
	}
}

// The reference's ifb, which has nothing but its name, goes too; a link of another kind of that name doesn't.
func TestBandwidthDelOfTheReferences(t *testing.T) {
	nstest.Kernel(t)
	n := chained(t, "bandwidth", "", nil)
	a := Attachment{ContainerID: "c1", IfName: "eth0"}
	name := bandwidth.IfbNames(n.conf.Name, a)[0]
	nstest.Run(t, "", "ip", "link", "add", name, "type", "ifb")
	if err := bandwidthRoom.del(t.Context(), n, a); err != nil || ifbs(t) != "" {
		t.Error(err, ifbs(t))
	}
	nstest.Run(t, "", "ip", "link", "add", name, "type", "bridge")
	defer removeLink(t, name)
	if err := bandwidthRoom.del(t.Context(), n, a); err != nil {
		t.Error(err)
	}
	nstest.Run(t, "", "ip", "link", "show", name)
	// The name that the reference gives c1 in mynet.
	if got := bandwidth.IfbNames("mynet", a)[0]; got != "bwpf0bca4ac77cd" {
		t.Error(got)
	}
}

func TestBandwidthRefuses(t *testing.T) {
	a, prev := chainPtP(t, "c1", "10.7.0.2/24")
	other := *prev
	other.Interfaces = []Interface{{Name: "vethother"}}
	none := *prev
	none.Interfaces = nil
	for name, tt := range map[string]struct {
		keys   string
		prev   *Result
		ifName string
		want   string
	}{
		"no prevResult":          {keys: bothLimits, want: "must be called as chained plugin"},
		"no limits either":       {want: "must be called as chained plugin"},
		"rate alone":             {keys: `, "ingressRate": 8000`, prev: prev, want: "if rate is set, burst must also be set"},
		"burst alone":            {keys: `, "egressBurst": 8000`, prev: prev, want: "if burst is set, rate must also be set"},
		"burst of 4 GiB":         {keys: `, "egressRate": 8, "egressBurst": 34359738360`, prev: prev, want: "burst cannot be more than 4GB; egressBurst"},
		"negative":               {keys: `, "egressRate": -8, "egressBurst": 8`, prev: prev, want: `invalid "egressRate"`},
		"a string":               {keys: `, "egressRate": "8M"`, prev: prev, want: `invalid "egressRate": expected a number`},
		"7 bits a second":        {keys: `, "egressRate": 7, "egressBurst": 8`, prev: prev, want: "invalid rate: 7; egressRate: expected at least 8 bits a second, a byte"},
		"7 bits of burst":        {keys: `, "egressRate": 8, "egressBurst": 7`, prev: prev, want: "invalid burst: 7; egressBurst: expected at least 8 bits, a byte"},
		"of runtimeConfig":       {keys: `, "runtimeConfig": {"bandwidth": {"ingressRate": 8}}`, prev: prev, want: "; runtimeConfig.bandwidth.ingressBurst"},
		"no interfaces":          {keys: bothLimits, prev: &none, want: "no interfaces provided"},
		"not in the result":      {keys: bothLimits, prev: &other, want: "no veth peer of container interface found in host ns"},
		"no such interface":      {keys: bothLimits, prev: prev, ifName: "eth7", want: "container interface eth7 has no veth peer"},
		"interface isn't a veth": {keys: bothLimits, prev: prev, ifName: "lo", want: "container interface lo has no veth peer"},
	} {
		t.Run(name, func(t *testing.T) {
			before := nstest.Run(t, "", "ip", "-br", "link") + nstest.Run(t, "", "tc", "qdisc")
			a := a
			if tt.ifName != "" {
				a.IfName = tt.ifName
			}
			if _, err := bandwidthRoom.add(t.Context(), chained(t, "bandwidth", tt.keys, tt.prev), a); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if after := nstest.Run(t, "", "ip", "-br", "link") + nstest.Run(t, "", "tc", "qdisc"); after != before {
				t.Errorf("something changed:\n%s\n%s", before, after)
			}
		})
	}
	// Whoever has a discipline on the host end already keeps it, and the ifb goes again.
	host := prev.Interfaces[0].Name
	nstest.Run(t, "", "tc", "qdisc", "add", "dev", host, "root", "handle", "5:", "tbf", "rate", "1mbit", "burst", "10kb", "limit", "10kb")
	if _, err := bandwidthRoom.add(t.Context(), chained(t, "bandwidth", bothLimits, prev), a); fault.Of(err).Code != CodeAttached || ifbs(t) != "" {
		t.Error(err, ifbs(t))
	}
	if out := nstest.Run(t, "", "tc", "qdisc", "show", "dev", host); !strings.Contains(out, "tbf 5:") || strings.Contains(out, "ingress") {
		t.Error(out)
	}
}

// CHECK sees each thing that somebody changed.
func TestBandwidthCheck(t *testing.T) {
	for name, tt := range map[string]struct{ change, want string }{
		"no qdisc":     {"tc qdisc del dev HOST root", "Failed to find qdisc"},
		"other rate":   {"tc qdisc change dev HOST root handle 1: tbf rate 1mbit burst 1000000 limit 1250000", "Rate doesn't match"},
		"other limit":  {"tc qdisc change dev HOST root handle 1: tbf rate 80mbit burst 1000000 limit 77777", "Limit doesn't match"},
		"other burst":  {"tc qdisc change dev HOST root handle 1: tbf rate 80mbit burst 500000 limit 1250000", "Buffer doesn't match"},
		"no ifb":       {"ip link del IFB", "look for the ifb"},
		"ifb unshaped": {"tc qdisc del dev IFB root", "Failed to find qdisc"},
	} {
		t.Run(name, func(t *testing.T) {
			a, prev := chainPtP(t, "c1", "10.7.0.2/24")
			n := chained(t, "bandwidth", bothLimits, prev)
			res, err := bandwidthRoom.add(t.Context(), n, a)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				_ = bandwidthRoom.del(t.Context(), n, a)
				removeLink(t, prev.Interfaces[0].Name)
			}()
			words := strings.Fields(strings.NewReplacer("HOST", prev.Interfaces[0].Name, "IFB", res.Interfaces[2].Name).Replace(tt.change))
			nstest.Run(t, "", words[0], words[1:]...)
			if err := bandwidthRoom.check(t.Context(), n, a, prev); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBandwidthVersions(t *testing.T) {
	for _, v := range Versions() {
		conf := fmt.Sprintf(`{"cniVersion":%q,"name":"chain","type":"ptp","ipam":{"type":"static","addresses":[{"address":"10.7.0.2/24","gateway":"10.7.0.1"}]}}`, v)
		a := attachment(t, "c1")
		status, prev := callPlugin("ptp", "ADD", conf, a)
		if status != 0 {
			t.Fatal(prev)
		}
		limited := withPrev(strings.Replace(conf, `"ptp"`, `"bandwidth"`+bothLimits, 1), prev)
		status, out := callPlugin("bandwidth", "ADD", limited, a)
		version, _ := specversion.Parse(v)
		if old := version.Less([3]int{0, 3, 0}); old != (status != 0) || old != strings.Contains(out, `plugin supports [\"0.3.0\"`) {
			t.Error(v, out)
		}
		if status == 0 {
			var res struct{ Interfaces []struct{ Name string } }
			if err := json.Unmarshal([]byte(out), &res); err != nil || len(res.Interfaces) != 3 || !strings.Contains(out, `"cniVersion": "`+v+`"`) {
				t.Error(v, out)
			}
			if status, out := callPlugin("bandwidth", "DEL", limited, a); status != 0 {
				t.Error(v, out)
			}
		}
		if status, out := callPlugin("ptp", "DEL", conf, a); status != 0 {
			t.Error(v, out)
		}
	}
}
