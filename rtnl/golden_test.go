// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

var update = flag.Bool("update", false, "rewrite the golden files, from what the kernel accepts")

// goldenFD is the descriptor of the container's namespace in golden messages.
const goldenFD = 200

// A golden is a batch whose bytes are kept. Its host namespace holds a bridge cni0 (10) with a port
// host0 (20), whose peer is the container's eth0 (30); all up, with addresses 10.1.0.1/24 and
// fd01::1/64 on cni0.
type golden struct {
	name string
	fill func(b *Batch, container *NetNS)
}

func goldens(t testing.TB) []golden {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	m1, m2 := mac(t, "02:00:00:00:00:01"), mac(t, "02:00:00:00:00:02")
	return []golden{
		{"veth", func(b *Batch, container *NetNS) {
			b.Create(Veth{
				Link: Link{Index: 21, Name: "host1", MAC: m1, MTU: 1400, Master: 10, Group: 5, State: Up, Queues: 1},
				Peer: Link{Index: 31, Name: "eth1", MAC: m2, MTU: 1400, NetNS: container, Queues: 1},
			})
			b.Create(Veth{Link: Link{Name: "a"}, Peer: Link{Name: "b"}})
			b.Delete(Veth{Link: Link{Name: "a"}})
			b.Delete(Link{Index: 21})
		}},
		{"bridge", func(b *Batch, _ *NetNS) {
			b.Create(Bridge{
				Link:       Link{Index: 11, Name: "br1", MAC: m1, State: Up, Promisc: On},
				AgeingTime: 60 * time.Second, McastSnooping: Off, GroupFwdMask: 0x4008,
			})
			b.Ensure(Bridge{Link: Link{Name: "br1", State: Up}})
			b.Set(Bridge{Link: Link{Index: 11, Promisc: Off, State: Down}, McastSnooping: On})
			b.Create(Link{Kind: "bridge", Name: "br2"})
			b.Delete(Bridge{Link: Link{Name: "br1"}})
		}},
		{"macvlan", func(b *Batch, container *NetNS) {
			b.Create(Macvlan{
				Link:   Link{Index: 50, Name: "mv0", MAC: m1, MTU: 1400, NetNS: container},
				Parent: 10, Mode: MacvlanBridge, BCQueueLen: 500,
			})
			b.Create(Macvlan{Link: Link{Index: 51, Name: "mv1", State: Up}, Parent: 10})
			b.Ensure(Macvlan{Link: Link{Name: "mv1"}, Parent: 10, Mode: MacvlanPrivate})
			b.Set(Macvlan{Link: Link{Index: 51, MTU: 1300}, Mode: MacvlanVEPA})
			b.Delete(Macvlan{Link: Link{Name: "mv1"}})
		}},
		{"altname", func(b *Batch, _ *NetNS) {
			b.Create(AltName{Link: 20, Name: "a-name-of-more-than-15-bytes"})
			b.Create(AltName{Link: 20, Name: "other"})
			b.Delete(AltName{Link: 20, Name: "other"})
			b.Set(Link{Index: 20, Alias: "free text"})
			b.Set(Link{Index: 20, Alias: NoAlias})
		}},
		{"link", func(b *Batch, container *NetNS) {
			b.Set(Link{Name: "host0", Master: NoMaster, State: Down})
			b.Set(Link{Index: 20, Name: "renamed", Alias: "c1/eth0", MAC: m2, MTU: 9000, Group: 9})
			b.Set(Link{Index: 20, LinkLocal: Off, ARPNotify: On, RouteLocalnet: Off})
			b.Set(Link{Index: 20, LinkLocal: On, RouteLocalnet: On})
			b.Set(Link{Index: 20, MTU: 1300, TxQueueLen: 500, Promisc: On, AllMulticast: On})
			b.Set(Link{Index: 20, TxQueueLen: NoTxQueue, AllMulticast: Off})
			b.Set(Link{Index: 20, NetNS: container})
			b.Create(Veth{Link: Link{Name: "a", Group: 77}, Peer: Link{Name: "b", Group: 77}})
			b.Delete(Link{Group: 77})
		}},
		{"addr", func(b *Batch, _ *NetNS) {
			b.Create(Addr{Link: 20, Prefix: prefix("172.19.1.2/24")})
			b.Create(Addr{Link: 20, Prefix: prefix("172.19.2.0/31"), Scope: ScopeLink})
			b.Create(Addr{Link: 20, Prefix: prefix("172.19.3.1/32"), Peer: addr("172.19.3.2")})
			b.Create(Addr{Link: 20, Prefix: prefix("fd00::2/64"), NoDAD: true})
			b.Ensure(Addr{Link: 20, Prefix: prefix("172.19.1.2/24")})
			b.Ensure(Addr{Link: 20, Prefix: prefix("fd00::3/64")})
			b.Delete(Addr{Link: 20, Prefix: prefix("172.19.1.2/24")})
			b.Delete(Addr{Link: 20, Prefix: prefix("fd00::2/64")})
		}},
		{"route", func(b *Batch, _ *NetNS) {
			b.Create(DefaultRoute(addr("10.1.0.2")))
			b.Create(DefaultRoute(addr("fd01::2")))
			b.Append(DefaultRoute(addr("10.1.0.3")))
			b.Prepend(DefaultRoute(addr("10.1.0.4")))
			b.Create(Route{Dst: prefix("10.2.0.0/16"), Link: 10, Scope: ScopeLink, Src: addr("10.1.0.1")})
			b.Create(Route{Dst: prefix("10.3.0.0/16"), Gateway: addr("10.1.0.2"), MTU: 1400, AdvMSS: 1360, Priority: 50, Table: 100})
			b.Create(Route{Dst: prefix("fd03::/64"), Gateway: addr("fd01::2"), MTU: 1400, AdvMSS: 1360, Priority: 50, Table: 1000})
			b.Create(Route{Dst: prefix("10.4.0.0/16"), Gateway: addr("192.0.2.1"), Link: 10, OnLink: true})
			b.Create(Route{Dst: prefix("fd05::/64"), Link: 10, Expires: 3600})
			b.Ensure(Route{Dst: prefix("10.4.0.0/16"), Gateway: addr("10.1.0.9")})
			b.Delete(Route{Dst: prefix("10.2.0.0/16"), Link: 10, Scope: ScopeLink})
			b.Delete(Route{Dst: prefix("fd03::/64"), Table: 1000})
		}},
		{"neigh", func(b *Batch, _ *NetNS) {
			b.Create(Neigh{Link: 10, Addr: addr("10.1.0.2"), MAC: m1})
			b.Create(Neigh{Link: 10, Addr: addr("fd01::2"), MAC: m1, State: NeighReachable})
			b.Ensure(Neigh{Link: 10, Addr: addr("10.1.0.2"), MAC: m2})
			b.Set(Neigh{Link: 10, Addr: addr("10.1.0.2"), MAC: m1, State: NeighStale})
			b.Delete(Neigh{Link: 10, Addr: addr("10.1.0.2")})
			b.Create(Neigh{Link: 20, MAC: m2})
			b.Ensure(Neigh{Link: 20, MAC: m2, State: NeighReachable})
			b.Delete(Neigh{Link: 20, MAC: m2})
		}},
		{"qdisc", func(b *Batch, _ *NetNS) {
			b.Create(Link{Kind: "ifb", Index: 40, Name: "ifb9", MAC: m1, MTU: 1400})
			b.Create(TBF{Link: 40, Rate: 125000, Buffer: 64 * time.Millisecond, Limit: 20000})
			b.Set(Link{Index: 40, State: Up})
			b.Create(TBF{Link: 20, Rate: 5 << 30, Burst: 1 << 30, Limit: 1<<32 - 1})
			b.Ensure(TBF{Link: 20, Rate: 1000, Buffer: MaxBuffer, Limit: 1})
			b.Set(TBF{Link: 20, Rate: 2000, Buffer: time.Millisecond, Limit: 3000})
			b.Create(Ingress{Link: 20})
			b.Create(Redirect{Link: 20, To: 40})
			b.Delete(Redirect{Link: 20})
			b.Delete(Ingress{Link: 20})
			b.Delete(TBF{Link: 20})
			b.Delete(Link{Index: 40})
		}},
		{"rule", func(b *Batch, _ *NetNS) {
			b.Create(Rule{Src: prefix("10.1.0.7/32"), Table: 100})
			b.Create(Rule{Src: prefix("fd01::7/128"), Table: 1000, Priority: 500, Protocol: 77})
			b.Create(Rule{Src: prefix("0.0.0.0/0"), Table: 101, Priority: 600})
			b.Delete(Rule{Src: prefix("10.1.0.7/32"), Table: 100})
			b.Delete(Rule{Src: prefix("fd01::7/128"), Protocol: 77})
		}},
		{"port", func(b *Batch, _ *NetNS) {
			b.Set(Port{Link: 20, Hairpin: On, Isolated: On})
			b.Set(Port{Name: "host0", Hairpin: Off, Learning: Off, Flood: Off, McastFlood: On})
		}},
	}
}

// goldenWorld makes the namespaces that the golden batches change.
func goldenWorld(t testing.TB) (host, container side) {
	t.Helper()
	host, container = newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	host.must(t, func(b *Batch) {
		b.Create(Addr{Link: 10, Prefix: netip.MustParsePrefix("10.1.0.1/24")})
		b.Create(Addr{Link: 10, Prefix: netip.MustParsePrefix("fd01::1/64"), NoDAD: true})
	})
	container.must(t, func(b *Batch) { b.Set(Link{Index: 30, State: Up}) })
	return host, container
}

func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			host, container := goldenWorld(t)
			checkGolden(t, host, container.ns, g)
		})
	}
}

// checkGolden sends a batch, which the kernel must accept, and compares its bytes with those on
// file.
func checkGolden(t *testing.T, host side, container *NetNS, g golden) {
	t.Helper()
	if err := unix.Dup3(container.fd, goldenFD, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(goldenFD)
	var b Batch
	g.fill(&b, &NetNS{fd: goldenFD, path: "/run/netns/container"})
	if err := host.Do(&b); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	compareGolden(t, g.name, annotate(&b))
	checkRoundTrip(t, &b)
	if *update {
		seedChanges(t, g.name, &b)
	}
}

// checkRoundTrip checks that nothing that was sent is lost on the way back.
func checkRoundTrip(t *testing.T, b *Batch) {
	t.Helper()
	for i := range b.steps {
		v, o, err := decodeChange(b.message(i))
		if err != nil {
			t.Errorf("step %d: %v", i, err)
			continue
		}
		if got := again(v, o).enc.buf; !bytes.Equal(got, b.message(i)) {
			t.Errorf("%s, decoded and encoded:\n% x\nbut was\n% x", b.change(i), got, b.message(i))
		}
	}
}

// seedChanges writes a batch's changes to the corpus.
func seedChanges(t *testing.T, name string, b *Batch) {
	t.Helper()
	for i := range b.steps {
		seed(t, "FuzzChange", fmt.Sprintf("%s-%02d", name, i), b.message(i))
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		path = filepath.Join("testdata", "big-endian", name+".golden") // nearly all is in the machine's order
	}
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs; run go test -run Golden -update and review the diff:\n%s", path, firstDifference(string(want), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d:\n- %s\n+ %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// seed writes a corpus file of a fuzz target.
func seed(t *testing.T, target, name string, b []byte) {
	t.Helper()
	dir := filepath.Join("testdata/fuzz", target)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("go test fuzz v1\n[]byte(%q)\n", b)
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGoldenKeepsItsPromises looks at what the golden batches did, by iproute2.
func TestGoldenKeepsItsPromises(t *testing.T) {
	host, container := goldenWorld(t)
	ip := func(args ...string) string { return nstest.Run(t, host.ns.Path(), "ip", args...) }
	for _, g := range goldens(t) {
		var b Batch
		switch g.name {
		case "addr", "route", "port":
			g.fill(&b, container.ns)
			if err := host.Do(&b); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct{ out, want string }{
		{ip("addr", "show", "host0"), "inet 172.19.2.0/31 scope link host0"},
		{ip("addr", "show", "host0"), "inet 172.19.3.1 peer 172.19.3.2/32 scope global host0"},
		{ip("addr", "show", "host0"), "inet6 fd00::3/64 scope global"},
		{ip("route", "show", "default"), "default via 10.1.0.4 dev cni0 \ndefault via 10.1.0.2 dev cni0 \ndefault via 10.1.0.3 dev cni0"},
		{ip("route", "show", "table", "100"), "10.3.0.0/16 via 10.1.0.2 dev cni0 metric 50 mtu 1400 advmss 1360"},
		{ip("route"), "10.4.0.0/16 via 10.1.0.9 dev cni0"},
		{ip("-6", "route", "show", "fd05::/64"), "fd05::/64 dev cni0 metric 1024 expires 3"},
		{ip("-6", "route", "show", "default"), "default via fd01::2 dev cni0 metric 1024"},
		{ip("-d", "link", "show", "host0"), "hairpin off guard off root_block off fastleave off learning off flood off"},
		{ip("-d", "link", "show", "host0"), "isolated on"},
	} {
		if !strings.Contains(test.out, test.want) {
			t.Errorf("no %q in\n%s", test.want, test.out)
		}
	}
	if out := ip("addr", "show", "host0"); strings.Contains(out, "172.19.1.2") || strings.Contains(out, "fd00::2/") {
		t.Errorf("deleted addresses are there:\n%s", out)
	}
	if out := ip("route"); strings.Contains(out, "10.2.0.0") {
		t.Errorf("deleted route is there:\n%s", out)
	}
}
