// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// A side is a namespace and a conn in it.
type side struct {
	*Conn
	ns *NetNS
}

// newSide makes an empty namespace and a conn in it; both end with the test.
func newSide(t testing.TB, name string) side {
	t.Helper()
	ns, err := OpenNetNS(nstest.New(t, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	c, err := Dial(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return side{c, ns}
}

// must sends changes that the kernel is to accept.
func (s side) must(t testing.TB, fill func(b *Batch)) {
	t.Helper()
	var b Batch
	fill(&b)
	if err := s.Do(&b); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
}

// refused sends one batch that the kernel is to refuse, and returns the first refusal.
func (s side) refused(t testing.TB, fill func(b *Batch)) *Error {
	t.Helper()
	var b Batch
	fill(&b)
	err := s.Do(&b)
	e, ok := as[*Error](err)
	if !ok {
		t.Fatalf("got %v, want a refusal of\n%s", err, b.String())
	}
	return e
}

func mac(t testing.TB, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// attach makes a bridge cni0 (index 10) with a port host0 (20) whose peer is the container's eth0
// (30).
func attach(t testing.TB, host, container side) {
	t.Helper()
	host.must(t, func(b *Batch) {
		b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}})
		b.Create(Veth{
			Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, Queues: 1},
			Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns, Queues: 1},
		})
	})
}

func TestVethIsBornAcrossNamespaces(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	hostMAC, peerMAC := mac(t, "02:00:00:00:00:01"), mac(t, "02:00:00:00:00:02")
	host.must(t, func(b *Batch) {
		b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up, MAC: mac(t, "02:00:00:00:00:0a")}})
		b.Create(Veth{
			Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, MAC: hostMAC, MTU: 1400, Queues: 1, Group: 7},
			Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns, MAC: peerMAC, MTU: 1300, Queues: 2},
		})
	})
	h, err := host.Link("host0")
	if err != nil {
		t.Fatal(err)
	}
	if h.Index != 20 || h.Master != 10 || h.State != Up || h.MTU != 1400 || h.Queues != 1 || h.Group != 7 ||
		h.Kind != "veth" || h.PeerIndex != 30 || h.MAC.String() != hostMAC.String() {
		t.Errorf("host end: %+v", h)
	}
	p, err := container.LinkByIndex(30)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "eth0" || p.State != Down || p.MTU != 1300 || p.Queues != 2 || p.PeerIndex != 20 || p.MAC.String() != peerMAC.String() {
		t.Errorf("peer: %+v", p)
	}
	// Deleting the host end takes the peer along.
	host.must(t, func(b *Batch) { b.Delete(Link{Name: "host0"}) })
	if _, err := container.Index("eth0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("peer outlives its veth: %v", err)
	}
}

func TestNameTakenInTheContainer(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	container.must(t, func(b *Batch) { b.Create(Link{Kind: "bridge", Name: "eth0"}) })
	var b Batch
	b.Create(Bridge{Link: Link{Name: "cni0"}})
	b.Create(Veth{Link: Link{Name: "host0"}, Peer: Link{Name: "eth0", NetNS: container.ns}})
	b.Create(Link{Kind: "bridge", Name: "later"})
	err := host.Do(&b)
	refused, ok := as[Refused](err)
	if !ok || len(refused) != 1 || refused[0].Step != 1 || refused[0].Errno != syscall.EEXIST {
		t.Fatalf("got %v", err)
	}
	if !errors.Is(err, fs.ErrExist) || !errors.Is(err, syscall.EEXIST) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v isn't fs.ErrExist alone", err)
	}
	want := "create veth host0 peer eth0 netns " + container.ns.Path()
	if refused[0].Change != want {
		t.Errorf("change is %q, want %q", refused[0].Change, want)
	}
	// The kernel carries on after a refusal, and the refused step left nothing.
	if _, err := host.Index("later"); err != nil {
		t.Error("the step after the refused one wasn't made:", err)
	}
	if _, err := host.Index("host0"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the refused step left its link:", err)
	}
}

func TestIndexInUse(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) { b.Create(Link{Kind: "bridge", Name: "d0", Index: 50}) })
	container.must(t, func(b *Batch) { b.Create(Link{Kind: "bridge", Name: "d0", Index: 60}) })
	for _, test := range []struct {
		where      string
		host, peer int
		want       syscall.Errno
	}{{"host", 50, 51, unix.EEXIST}, {"container", 61, 60, unix.EBUSY}} {
		e := host.refused(t, func(b *Batch) {
			b.Create(Veth{Link: Link{Index: test.host, Name: "host0"}, Peer: Link{Index: test.peer, Name: "eth0", NetNS: container.ns}})
		})
		if e.Errno != test.want {
			t.Errorf("index in use in the %s: %v, want %v", test.where, e, test.want)
		}
		if _, err := host.Index("host0"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("index in use in the %s: host end is left: %v", test.where, err)
		}
	}
}

func TestPeerCannotBeBornUp(t *testing.T) {
	host := newSide(t, "host")
	e := host.refused(t, func(b *Batch) { b.Create(Veth{Link: Link{Name: "a"}, Peer: Link{Name: "b", State: Up}}) })
	if e.Errno != unix.ENOTCONN {
		t.Errorf("got %v, want ENOTCONN", e)
	}
}

func TestContainerBatch(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	container.must(t, func(b *Batch) {
		b.Set(Link{Name: "lo", State: Up})
		b.Set(Link{Name: "eth0", State: Up})
		b.Create(Addr{Link: 30, Prefix: netip.MustParsePrefix("172.19.1.2/24")})
		b.Create(DefaultRoute(netip.MustParseAddr("172.19.1.1")))
	})
	out := nstest.Run(t, container.ns.Path(), "ip", "-4", "addr", "show", "eth0")
	if want := "inet 172.19.1.2/24 brd 172.19.1.255 scope global eth0"; !contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	out = nstest.Run(t, container.ns.Path(), "ip", "route")
	if want := "default via 172.19.1.1 dev eth0"; !contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
}
