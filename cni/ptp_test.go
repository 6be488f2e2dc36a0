// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/specversion"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/rtnl"
)

// ptpNetwork parses a configuration with its own state directory.
func ptpNetwork(t testing.TB, keys string) *Network {
	t.Helper()
	text := fmt.Sprintf(`{ "cniVersion": "1.1.0", "name": "ptp%d", "type": "ptp", %s }`, os.Getpid(), strings.ReplaceAll(keys, "DIR", t.TempDir()))
	n, err := parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const ptpDual = `"ipMasq": true, "ipam": { "type": "host-local", "dataDir": "DIR",
	"ranges": [ [ { "subnet": "10.8.0.0/24" } ], [ { "subnet": "fd00:8::/64" } ] ],
	"routes": [ { "dst": "0.0.0.0/0" }, { "dst": "::/0" }, { "dst": "198.51.100.0/24", "gw": "10.8.0.77" } ] }`

func ptpAttach(t testing.TB, n *Network, id string) (Attachment, *Result) {
	t.Helper()
	a := attachment(t, id)
	res, err := ptpRoom.add(t.Context(), n, a)
	if err != nil {
		t.Fatal(id, err)
	}
	t.Cleanup(func() { _ = ptpRoom.del(context.Background(), n, a) })
	return a, res
}

// outside makes a namespace that the host has a link to, and that knows no way back to a container.
func outside(t testing.TB) string {
	t.Helper()
	ns := nstest.New(t, "outside")
	nstest.Run(t, "", "ip", "link", "add", "out0", "type", "veth", "peer", "name", "up0", "netns", ns)
	t.Cleanup(func() { removeLink(t, "out0") })
	for _, side := range []struct{ ns, link, four, six string }{{"", "out0", "192.0.2.1/24", "fd00:2::1/64"}, {ns, "up0", "192.0.2.2/24", "fd00:2::2/64"}} {
		nstest.Run(t, side.ns, "ip", "address", "add", side.four, "dev", side.link)
		nstest.Run(t, side.ns, "ip", "address", "add", side.six, "dev", side.link, "nodad")
		nstest.Run(t, side.ns, "ip", "link", "set", side.link, "up")
	}
	return ns
}

// Containers reach their gateway, each other through the host, and the outside by masquerade.
func TestPtPReaches(t *testing.T) {
	n := ptpNetwork(t, ptpDual)
	outside(t)
	c1, _ := ptpAttach(t, n, "c1")
	c2, res := ptpAttach(t, n, "c2")
	for _, to := range []string{"10.8.0.1", "fd00:8::1", res.IPs[0].Address.Addr().String(), res.IPs[1].Address.Addr().String(), "192.0.2.2", "fd00:2::2"} {
		nstest.Run(t, c1.NetNS, "ping", "-c1", "-W60", to)
	}
	for _, ip := range res.IPs {
		nstest.Run(t, "", "ping", "-c1", "-W60", ip.Address.Addr().String())
	}
	// Another address of the subnet is asked of the gateway, and the gateway itself alone is on the link.
	routes := nstest.Run(t, c2.NetNS, "ip", "route")
	for _, want := range []string{"default via 10.8.0.1 dev eth0", "10.8.0.0/24 via 10.8.0.1 dev eth0 src 10.8.0.3", "10.8.0.1 dev eth0 scope link src 10.8.0.3",
		"198.51.100.0/24 via 10.8.0.77 dev eth0"} {
		if !strings.Contains(routes, want) {
			t.Errorf("no %q in\n%s", want, routes)
		}
	}
	if strings.Contains(routes, "proto kernel") {
		t.Errorf("the subnet is on the link:\n%s", routes)
	}
	if out := nstest.Run(t, c2.NetNS, "ip", "-6", "route"); !strings.Contains(out, "fd00:8::/64 via fd00:8::1 dev eth0 src fd00:8::3") || strings.Contains(out, "fd00:8::/64 dev") {
		t.Errorf("IPv6 routes:\n%s", out)
	}
	if v, err := sysctl.Read(sysctl.IPv6(names.Of(n.conf.Name, "c2", "eth0", 0).Link, "accept_ra")); err != nil || v != "0" {
		t.Error("accept_ra", v, err)
	}
}

// Nothing of an attachment is left after DEL, whether or not its namespace is there, and DEL may come again.
func TestPtPDetach(t *testing.T) {
	n := ptpNetwork(t, ptpDual)
	for name, spoil := range map[string]func(*Attachment){
		"whole":            func(*Attachment) {},
		"no namespace":     func(a *Attachment) { a.NetNS = "" },
		"lost namespace":   func(a *Attachment) { a.NetNS = "/run/netns/nobody" },
		"vanished":         func(a *Attachment) { nstest.Remove(a.NetNS) },
		"link gone before": func(a *Attachment) { removeLink(t, names.Of(n.conf.Name, a.ContainerID, "eth0", 0).Link) },
	} {
		t.Run(name, func(t *testing.T) {
			a, res := ptpAttach(t, n, "c1")
			if err := ptpRoom.check(t.Context(), n, a, res); err != nil {
				t.Error("check:", err)
			}
			if l := left(t, n, a); len(l) != 3 {
				t.Errorf("has %v, want link, elements, lease", l)
			}
			spoil(&a)
			for range 2 {
				if err := ptpRoom.del(t.Context(), n, a); err != nil {
					t.Error(err)
				}
			}
			if l := left(t, n, a); l != nil {
				t.Error("left behind:", l)
			}
			if out := nstest.Run(t, "", "ip", "route"); strings.Contains(out, "10.8.0.") {
				t.Error("left behind:", out)
			}
		})
	}
}

func TestPtPGC(t *testing.T) {
	n := ptpNetwork(t, ptpDual)
	c1, _ := ptpAttach(t, n, "c1")
	c2, _ := ptpAttach(t, n, "c2")
	if err := ptpRoom.gc(t.Context(), n, []Attachment{{ContainerID: "c2", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	if l := left(t, n, c1); l != nil {
		t.Error("left behind:", l)
	}
	removeLink(t, names.Of(n.conf.Name, "c2", "eth0", 0).Link)
	if err := ptpRoom.reclaim(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if l := left(t, n, c2); l != nil {
		t.Error("left behind of the dead:", l)
	}
}

// A dead attachment's address is given again, a live one's owner is told that it's attached.
func TestPtPOwners(t *testing.T) {
	n := ptpNetwork(t, `"ipam": { "type": "host-local", "subnet": "10.8.0.0/30", "dataDir": "DIR" }`)
	a, _ := ptpAttach(t, n, "c1")
	if _, err := ptpRoom.add(t.Context(), n, a); fault.Of(err).Code != CodeAttached {
		t.Error("attached twice:", err)
	}
	other := attachment(t, "c2")
	if _, err := ptpRoom.add(t.Context(), n, other); fault.Of(err).Code != CodeExhausted {
		t.Error("full:", err)
	}
	removeLink(t, names.Of(n.conf.Name, "c1", "eth0", 0).Link)
	ptpAttach(t, n, "c3")
}

// Gateways beyond the subnet, addresses without a subnet, and several addresses with one gateway.
func TestPtPGateways(t *testing.T) {
	for name, addresses := range map[string]string{
		"single address":      `{ "address": "10.8.1.2/32", "gateway": "10.8.1.1" }`,
		"gateway beyond":      `{ "address": "10.8.1.2/24", "gateway": "169.254.1.1" }`,
		"one subnet":          `{ "address": "10.8.1.2/24", "gateway": "10.8.1.1" }, { "address": "10.8.1.3/24", "gateway": "10.8.1.1" }`,
		"two gateways":        `{ "address": "10.8.1.2/24", "gateway": "10.8.1.1" }, { "address": "10.8.2.3/24", "gateway": "10.8.2.1" }`,
		"single IPv6 address": `{ "address": "fd00:81::2/128", "gateway": "fd00:81::1" }`,
		"link-local gateway":  `{ "address": "fd00:81::2/64", "gateway": "fe80::1" }`,
	} {
		t.Run(name, func(t *testing.T) {
			everywhere := "0.0.0.0/0"
			if strings.Contains(addresses, "fd00") {
				everywhere = "::/0"
			}
			n := ptpNetwork(t, `"ipam": { "type": "static", "addresses": [ `+addresses+` ], "routes": [ { "dst": "`+everywhere+`" } ] }`)
			outside(t)
			a, res := ptpAttach(t, n, "c1")
			if err := ptpRoom.check(t.Context(), n, a, res); err != nil {
				t.Error("check:", err)
			}
			to := "192.0.2.1"
			if res.IPs[0].Address.Addr().Is6() {
				to = "fd00:2::1"
			}
			nstest.Run(t, a.NetNS, "ping", "-c1", "-W60", to)
			for _, ip := range res.IPs {
				nstest.Run(t, "", "ping", "-c1", "-W60", ip.Address.Addr().String())
			}
		})
	}
}

// What is refused at any step leaves nothing behind, and says why.
func TestPtPUndoes(t *testing.T) {
	oneAddress := `"ipMasq": true, "ipam": { "type": "host-local", "subnet": "10.8.0.0/24", "dataDir": "DIR"`
	for name, tt := range map[string]struct {
		keys    string
		prepare func(t *testing.T, a Attachment)
		want    string
		is      error
	}{
		"name taken": {keys: oneAddress + ` }`, want: `container veth name ("eth0") peer provided`, is: fs.ErrExist,
			prepare: func(t *testing.T, a Attachment) {
				nstest.Run(t, a.NetNS, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x0")
			}},
		"host has the route": {keys: oneAddress + ` }`, want: "the host has a route to the container's address already", is: fs.ErrExist,
			prepare: func(t *testing.T, _ Attachment) {
				nstest.Run(t, "", "ip", "link", "set", "lo", "up")
				nstest.Run(t, "", "ip", "route", "add", "10.8.0.2/32", "dev", "lo")
				t.Cleanup(func() { nstest.Run(t, "", "ip", "route", "del", "10.8.0.2/32") })
			}},
		"route":              {keys: oneAddress + `, "routes": [ { "dst": "198.51.100.0/24", "gw": "203.0.113.1" } ] }`, want: "route 198.51.100.0/24 via 203.0.113.1"},
		"no gateway":         {keys: `"ipam": { "type": "static", "addresses": [ { "address": "10.8.0.9/24" } ] }`, want: "ptp needs a gateway, which IPAM didn't give for 10.8.0.9/24"},
		"own gateway":        {keys: `"ipam": { "type": "static", "addresses": [ { "address": "10.8.0.9/24", "gateway": "10.8.0.9" } ] }`, want: "the container's address 10.8.0.9 is its gateway's"},
		"no addresses":       {keys: `"ipam": { "type": "static" }`, want: "IPAM plugin returned missing IP config"},
		"no ipam":            {keys: `"mtu": 1400`, want: "ipam"},
		"mtu isn't a number": {keys: `"mtu": "x", "ipam": { "type": "static" }`, want: `invalid "mtu"`},
		"too large an mtu":   {keys: `"MTU": 70000, "ipam": { "type": "static" }`, want: "MTU: expected at most 65535"},
		"unknown backend":    {keys: `"ipMasq": true, "ipMasqBackend": "pf", "ipam": { "type": "static" }`, want: `unknown ipmasq backend "pf"`},
	} {
		t.Run(name, func(t *testing.T) {
			n, a := ptpNetwork(t, tt.keys), attachment(t, "c1")
			if tt.prepare != nil {
				tt.prepare(t, a)
			}
			_, err := ptpRoom.add(t.Context(), n, a)
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !isType[*rtnl.Error](err) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if l := left(t, n, a); l != nil {
				t.Error("left behind:", l)
			}
		})
	}
}

// Keys of bridge that ptp doesn't know mean nothing to it, right or wrong.
func TestPtPIgnoresBridgeKeys(t *testing.T) {
	n := ptpNetwork(t, `"bridge": 7, "vlan": 9000, "isDefaultGateway": true, "macspoofchk": true, "disableContainerInterface": true,
		"ipam": { "type": "host-local", "subnet": "10.8.0.0/24", "dataDir": "DIR" }`)
	a, res := ptpAttach(t, n, "c1")
	if len(res.Interfaces) != 2 || len(res.Routes) != 0 {
		t.Errorf("%+v", res)
	}
	if l := left(t, n, a); len(l) != 2 {
		t.Errorf("has %v, want link and lease", l)
	}
}

func TestPtPVersions(t *testing.T) {
	for _, v := range Versions() {
		conf := fmt.Sprintf(`{"cniVersion":%q,"name":"ptpv","type":"ptp","dns":{"domain":"a.b"},"ipam":{"type":"static","addresses":[{"address":"10.8.0.9/24","gateway":"10.8.0.1"}]}}`, v)
		a := attachment(t, "c1")
		status, out := callPlugin("ptp", "ADD", conf, a)
		var res struct {
			CNIVersion string
			IP4        struct{ IP, Gateway string }
			IPs        []struct {
				Address, Gateway, Version string
				Interface                 *int
			}
		}
		if err := json.Unmarshal([]byte(out), &res); status != 0 || err != nil || res.CNIVersion != v {
			t.Fatal(v, status, out)
		}
		switch version, _ := specversion.Parse(v); version.Form() {
		case specversion.Legacy:
			if res.IP4.IP != "10.8.0.9/24" || res.IP4.Gateway != "10.8.0.1" {
				t.Error(v, out)
			}
		default:
			if len(res.IPs) != 1 || res.IPs[0].Interface == nil || *res.IPs[0].Interface != 1 {
				t.Error(v, out)
			}
		}
		version, _ := specversion.Parse(v)
		status, got := callPlugin("ptp", "CHECK", withPrev(conf, out), a)
		if want := version.Less([3]int{0, 4, 0}); (status != 0) != want {
			t.Error(v, "CHECK", status, got)
		}
		status, got = callPlugin("ptp", "STATUS", conf, a)
		if want := v != specversion.Newest; (status != 0) != want {
			t.Error(v, "STATUS", status, got)
		}
		if status, out := callPlugin("ptp", "DEL", conf, a); status != 0 {
			t.Error(v, "DEL", out)
		}
	}
}

// CHECK sees each thing that somebody took away.
func TestPtPCheck(t *testing.T) {
	n := ptpNetwork(t, ptpDual)
	host := names.Of(n.conf.Name, "c1", "eth0", 0).Link
	for name, tt := range map[string]struct {
		spoil func(a Attachment)
		want  string
	}{
		"address":         {func(a Attachment) { nstest.Run(t, a.NetNS, "ip", "address", "flush", "dev", "eth0", "scope", "global") }, "Failed to match addr"},
		"route":           {func(a Attachment) { nstest.Run(t, a.NetNS, "ip", "route", "del", "default") }, "Expected Route 0.0.0.0/0 not found"},
		"gateway":         {func(Attachment) { nstest.Run(t, "", "ip", "address", "del", "10.8.0.1/32", "dev", host) }, "gateway 10.8.0.1/32 is not on"},
		"IPv6 host route": {func(Attachment) { nstest.Run(t, "", "ip", "-6", "route", "flush", "dev", host) }, "the host has no route to fd00:8::"},
		"elements":        {func(a Attachment) { nstest.Run(t, "", "nft", "flush", "ruleset") }, "ruleset"},
		"link":            {func(Attachment) { removeLink(t, host) }, "failed to lookup container interface"},
	} {
		t.Run(name, func(t *testing.T) {
			a, res := ptpAttach(t, n, "c1")
			defer func() { _ = ptpRoom.del(t.Context(), n, a) }()
			tt.spoil(a)
			if err := ptpRoom.check(t.Context(), n, a, res); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// linkLocal is ptp's key too.
func TestPtPWithoutLinkLocal(t *testing.T) {
	n := ptpNetwork(t, `"linkLocal": false, "ipam": { "type": "host-local", "dataDir": "DIR", "subnet": "10.8.0.0/24" }`)
	a, _ := ptpAttach(t, n, "quiet")
	if got := nstest.Run(t, a.NetNS, "ip", "-6", "address", "show", "dev", "eth0"); got != "" {
		t.Errorf("a container without IPv6 has\n%s", got)
	}
	bad := ptpNetwork(t, ptpDual)
	bad, err := parse([]byte(strings.Replace(string(bad.conf.Text), `"type": "ptp"`, `"type": "ptp", "linkLocal": 1`, 1)))
	if _, err2 := ptpRoom.add(t.Context(), bad, a); err2 == nil {
		t.Errorf("linkLocal 1 is taken: %v", err)
	}
}
