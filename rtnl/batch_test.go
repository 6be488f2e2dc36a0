// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"net/netip"
	"testing"
)

// fillAttach fills the host's and the container's batches of an attachment with everything on.
func fillAttach(host, container *Batch, v *Veth, addr netip.Prefix, gateway netip.Addr) {
	host.Reset()
	host.Create(*v)
	host.Set(Port{Link: v.Index, Hairpin: On, Isolated: Off})
	host.Set(Link{Index: v.Index, LinkLocal: Off})
	host.Create(Neigh{Link: v.Index, MAC: v.Peer.MAC})
	container.Reset()
	container.Set(Link{Name: "lo", State: Up})
	container.Set(Link{Index: v.Peer.Index, ARPNotify: On})
	container.Set(Link{Index: v.Peer.Index, State: Up})
	container.Create(Addr{Link: v.Peer.Index, Prefix: addr})
	container.Append(DefaultRoute(gateway))
}

func TestNoAllocs(t *testing.T) {
	v := Veth{
		Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, MAC: mac(t, "02:00:00:00:00:01"), Queues: 1},
		Peer: Link{Index: 30, Name: "eth0", MAC: mac(t, "02:00:00:00:00:02"), NetNS: &NetNS{fd: 5}, Queues: 1},
	}
	addr, gateway := netip.MustParsePrefix("10.1.0.2/24"), netip.MustParseAddr("10.1.0.1")
	var host, container Batch
	fillAttach(&host, &container, &v, addr, gateway)
	if n := testing.AllocsPerRun(100, func() { fillAttach(&host, &container, &v, addr, gateway) }); n != 0 {
		t.Errorf("encoding an attachment allocates %v times, want 0", n)
	}
	addrs := host.message(0)
	if n := testing.AllocsPerRun(100, func() {
		a := attrs{rest: addrs[32:]}
		for a.next() {
			inner := a.nested()
			for inner.next() {
			}
		}
	}); n != 0 {
		t.Errorf("walking over attributes allocates %v times, want 0", n)
	}
}

func TestBatchPrintsItself(t *testing.T) {
	v := Veth{
		Link: Link{Index: 20, Name: "host0", Master: 10, State: Up},
		Peer: Link{Index: 30, Name: "eth0", MAC: mac(t, "02:00:00:00:00:02"), NetNS: &NetNS{fd: 5, path: "/run/netns/c1"}},
	}
	var host, container Batch
	fillAttach(&host, &container, &v, netip.MustParsePrefix("10.1.0.2/24"), netip.MustParseAddr("10.1.0.1"))
	want := `create veth host0 index 20 master 10 up peer eth0 index 30 address 02:00:00:00:00:02 netns /run/netns/c1
set port host0 hairpin on isolated off
set link host0 link-local off
create fdb 02:00:00:00:00:02 dev host0 noarp
`
	if got := host.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = `set link lo up
set link 30 arp_notify on
set link 30 up
create address 10.1.0.2/24 dev 30
append route default via 10.1.0.1
`
	if got := container.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func BenchmarkEncodeAttach(b *testing.B) {
	v := Veth{
		Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, Queues: 1},
		Peer: Link{Index: 30, Name: "eth0", NetNS: &NetNS{fd: 5}, Queues: 1},
	}
	addr, gateway := netip.MustParsePrefix("10.1.0.2/24"), netip.MustParseAddr("10.1.0.1")
	var host, container Batch
	b.ReportAllocs()
	for b.Loop() {
		fillAttach(&host, &container, &v, addr, gateway)
	}
}

// BenchmarkAttach makes an attachment, whole, and removes it: dial, two batches, the removal's wait
// included apart.
func BenchmarkAttach(b *testing.B) {
	host, container := newSide(b, "host"), newSide(b, "container")
	host.must(b, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}}) })
	v := Veth{
		Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, MAC: mac(b, "02:00:00:00:00:01"), Queues: 1},
		Peer: Link{Index: 30, Name: "eth0", MAC: mac(b, "02:00:00:00:00:02"), NetNS: container.ns, Queues: 1},
	}
	addr, gateway := netip.MustParsePrefix("10.1.0.2/24"), netip.MustParseAddr("10.1.0.1")
	var h, c, d Batch
	d.Delete(Link{Index: 20})
	for b.Loop() {
		fillAttach(&h, &c, &v, addr, gateway)
		inside, err := Dial(container.ns)
		if err != nil {
			b.Fatal(err)
		}
		if err := host.Do(&h); err != nil {
			b.Fatal(err)
		}
		if err := inside.Do(&c); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		inside.Close()
		if err := host.Do(&d); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkDial(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		c, err := Dial(nil)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func BenchmarkIndex(b *testing.B) {
	c := newSide(b, "host")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Index("lo"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLink(b *testing.B) {
	c := newSide(b, "host")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Link("lo"); err != nil {
			b.Fatal(err)
		}
	}
}
