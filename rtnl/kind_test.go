// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// has reports whether the kernel has a kind of links. One that lacks it must say so.
func has(t *testing.T, s side, o Object) bool {
	t.Helper()
	var b Batch
	b.Create(o)
	err := s.Do(&b)
	if e, ok := as[*Error](err); ok {
		if e.Errno != unix.EOPNOTSUPP {
			t.Errorf("a kernel without it says %v, want EOPNOTSUPP", e)
		}
		return false
	}
	return true
}

// A macvlan is born in a container, though its parent's index is one of the host's. Two of one
// parent reach each other.
func TestMacvlan(t *testing.T) {
	host, c1, c2 := newSide(t, "host"), newSide(t, "c1"), newSide(t, "c2")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "parent", State: Up}, Peer: Link{Name: "far"}})
		b.Set(Link{Name: "far", State: Up})
		b.Create(Macvlan{Link: Link{Name: "eth0", NetNS: c1.ns, MAC: mac(t, "02:00:00:00:00:07")}, Parent: 20, Mode: MacvlanBridge, BCQueueLen: 77})
		b.Create(Macvlan{Link: Link{Name: "eth0", NetNS: c2.ns, State: Up}, Parent: 20, Mode: MacvlanBridge})
	})
	c1.must(t, func(b *Batch) {
		b.Set(Link{Name: "eth0", State: Up})
		b.Create(Addr{Link: index(t, c1, "eth0"), Prefix: netip.MustParsePrefix("10.1.0.2/24")})
	})
	c2.must(t, func(b *Batch) {
		b.Create(Addr{Link: index(t, c2, "eth0"), Prefix: netip.MustParsePrefix("10.1.0.3/24")})
	})
	nstest.Run(t, c2.ns.Path(), "ping", "-c1", "-W60", "10.1.0.2")
	second, err := c2.Macvlan("eth0")
	if err != nil || second.Parent != 20 {
		t.Errorf("%+v, %v", second, err)
	}
	got, err := c1.Macvlan("eth0")
	if second.BCQueueLen == 0 {
		got.BCQueueLen = 77 // a kernel before 5.11 doesn't tell
	}
	if err != nil || got.Parent != 20 || got.Mode != MacvlanBridge || got.BCQueueLen != 77 || got.MAC.String() != "02:00:00:00:00:07" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, mode := range []MacvlanMode{MacvlanPrivate, MacvlanVEPA} {
		c1.must(t, func(b *Batch) { b.Set(Macvlan{Link: Link{Name: "eth0"}, Mode: mode}) })
		if got, err := c1.Macvlan("eth0"); err != nil || got.Mode != mode {
			t.Errorf("set to %v, got %v, %v", mode, got.Mode, err)
		}
		if out := nstest.Run(t, c1.ns.Path(), "ip", "-d", "link", "show", "eth0"); !strings.Contains(out, "macvlan mode "+mode.String()) {
			t.Error(out)
		}
	}
	// There's no parent in the container with that index, and none of index 0 anywhere.
	for parent, want := range map[int]syscall.Errno{20: unix.ENODEV, 0: unix.EINVAL} {
		if e := c1.refused(t, func(b *Batch) { b.Create(Macvlan{Link: Link{Name: "x"}, Parent: parent}) }); e.Errno != want {
			t.Errorf("parent %d: %v, want %v", parent, e, want)
		}
	}
	host.must(t, func(b *Batch) { b.Delete(Link{Index: 20}) })
	if _, err := c1.Macvlan("eth0"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its parent: %v", err)
	}
}

func index(t *testing.T, s side, name string) int {
	t.Helper()
	i, err := s.Index(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestIPVLAN(t *testing.T) {
	host, c1 := newSide(t, "host"), newSide(t, "c1")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "parent", State: Up}, Peer: Link{Name: "far"}})
	})
	if !has(t, host, IPVLAN{Link: Link{Name: "eth0", NetNS: c1.ns, MTU: 1400}, Parent: 20, Mode: IPVLANL2}) {
		return
	}
	if got, err := c1.IPVLAN("eth0"); err != nil || got.Parent != 20 || got.Mode != IPVLANL2 || got.MTU != 1400 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, mode := range []IPVLANMode{IPVLANL3S, IPVLANL3} {
		c1.must(t, func(b *Batch) { b.Set(IPVLAN{Link: Link{Name: "eth0"}, Mode: mode}) })
		if got, err := c1.IPVLAN("eth0"); err != nil || got.Mode != mode {
			t.Errorf("set to %v, got %v, %v", mode, got.Mode, err)
		}
		if out := nstest.Run(t, c1.ns.Path(), "ip", "-d", "link", "show", "eth0"); !strings.Contains(out, "mode "+mode.String()) {
			t.Error(out)
		}
	}
}

func TestVLAN(t *testing.T) {
	host, c1 := newSide(t, "host"), newSide(t, "c1")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "parent", State: Up}, Peer: Link{Name: "far"}})
	})
	for _, id := range []int{-1, 4095} {
		if e := host.refused(t, func(b *Batch) { b.Create(VLAN{Link: Link{Name: "x"}, Parent: 20, ID: id}) }); e.Errno != unix.ERANGE {
			t.Errorf("vlan %d: %v", id, e)
		}
	}
	if !has(t, host, VLAN{Link: Link{Name: "eth0", NetNS: c1.ns}, Parent: 20, ID: 4094}) {
		return
	}
	host.must(t, func(b *Batch) {
		b.Create(VLAN{Link: Link{Name: "zero"}, Parent: 20})
		b.Set(VLAN{Link: Link{Name: "zero", MTU: 1400}})
	})
	if got, err := c1.VLAN("eth0"); err != nil || got.Parent != 20 || got.ID != 4094 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := host.VLAN("zero"); err != nil || got.Parent != 20 || got.ID != 0 || got.MTU != 1400 {
		t.Errorf("%+v, %v", got, err)
	}
	if e := host.refused(t, func(b *Batch) { b.Create(VLAN{Link: Link{Name: "x"}, Parent: 20, ID: 4094}) }); !errors.Is(e, fs.ErrExist) {
		t.Errorf("twice: %v", e)
	}
	// Where both namespaces end at once, Linux 5.10 waits for the VLAN's hold on its parent before it frees the VLAN, and so
	// for ever (netdev_run_todo, net/core/dev.c).
	c1.must(t, func(b *Batch) { b.Delete(Link{Name: "eth0"}) })
}

func TestVRF(t *testing.T) {
	host := newSide(t, "host")
	host.must(t, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "br0"}}) })
	if !has(t, host, VRF{Link: Link{Index: 20, Name: "red", State: Up}, Table: 1000}) {
		for v, err := range host.VRFs() {
			t.Errorf("a kernel without VRFs lists %+v, %v", v, err)
		}
		return
	}
	host.must(t, func(b *Batch) {
		b.Create(VRF{Link: Link{Name: "blue"}, Table: 7})
		b.Set(VRF{Link: Link{Name: "blue", State: Up}})
		b.Set(Link{Name: "br0", Master: 20})
	})
	if got, err := host.VRF("red"); err != nil || got.Table != 1000 || got.Index != 20 {
		t.Errorf("%+v, %v", got, err)
	}
	tables := map[string]uint32{}
	for v, err := range host.VRFs() {
		if tables[v.Name] = v.Table; err != nil || v.State != Up {
			t.Errorf("%+v, %v", v, err)
		}
	}
	if len(tables) != 2 || tables["red"] != 1000 || tables["blue"] != 7 {
		t.Errorf("lists %v", tables)
	}
	if l, err := host.Link("br0"); err != nil || l.Master != 20 {
		t.Errorf("%+v, %v", l, err)
	}
	if p, err := host.Port("br0"); err != ErrNotPort {
		t.Errorf("a VRF's port is one of a bridge: %+v, %v", p, err)
	}
	for _, e := range []*Error{
		host.refused(t, func(b *Batch) { b.Ensure(VRF{Link: Link{Name: "red"}, Table: 1000}) }),
		host.refused(t, func(b *Batch) { b.Create(VRF{Link: Link{Name: "none"}}) }),
	} {
		if e.Errno != unix.EOPNOTSUPP && e.Errno != unix.EINVAL {
			t.Error(e)
		}
	}
}

// A look-up of one kind finds none of another.
func TestOtherKind(t *testing.T) {
	s := newSide(t, "host")
	for what, got := range map[string]struct{ is, want error }{
		"Macvlan": {second(s.Macvlan("lo")), ErrNotMacvlan}, "IPVLAN": {second(s.IPVLAN("lo")), ErrNotIPVLAN},
		"VLAN": {second(s.VLAN("lo")), ErrNotVLAN}, "VRF": {second(s.VRF("lo")), ErrNotVRF},
	} {
		if got.is != got.want {
			t.Errorf("%s says %v, want %v", what, got.is, got.want)
		}
	}
}

// TestKindBytes compares the bytes of kinds that this kernel may lack. It can't vouch for them then;
// the kernels of internal/test/kernels do, where the tests above find each kind.
func TestKindBytes(t *testing.T) {
	var b Batch
	b.Create(IPVLAN{Link: Link{Index: 50, Name: "ipvl0", MTU: 1400}, Parent: 20, Mode: IPVLANL2})
	b.Create(IPVLAN{Link: Link{Name: "ipvl1"}, Parent: 20})
	b.Set(IPVLAN{Link: Link{Index: 50}, Mode: IPVLANL3S})
	b.Create(VLAN{Link: Link{Name: "vlan0", State: Up}, Parent: 20, ID: 100})
	b.Create(VLAN{Link: Link{Name: "vlan1"}, Parent: 20})
	b.Delete(VLAN{Link: Link{Name: "vlan1"}, Parent: 20})
	b.Create(VRF{Link: Link{Name: "red", State: Up}, Table: 1000})
	if b.err != nil {
		t.Fatal(b.err)
	}
	compareGolden(t, "kinds", annotate(&b))
	checkRoundTrip(t, &b)
	if *update {
		seedChanges(t, "kinds", &b)
	}
}

// A move to another namespace takes alias and alternative names along.
func TestMarksMoveAlong(t *testing.T) {
	host, c := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "card0"}, Peer: Link{Name: "far0"}})
		b.Create(AltName{Link: 20, Name: "mark"})
		b.Set(Link{Index: 20, NetNS: c.ns, Name: "eth0", Alias: "card0"})
	})
	l, err := c.Link("eth0")
	if err != nil || l.Alias != "card0" || !slices.Equal(l.AltNames, []string{"mark"}) {
		t.Errorf("%+v, %v", l, err)
	}
	// Linux 5.10 leaves the alternative name behind in its table, too, whoever moves the link.
	if i, err := host.Index("mark"); !errors.Is(err, fs.ErrNotExist) && (err != nil || i != 20) {
		t.Errorf("left behind: %d, %v", i, err)
	}
	c.must(t, func(b *Batch) { b.Set(Link{Name: "eth0", Alias: NoAlias}) })
	if l, err := c.Link("eth0"); err != nil || l.Alias != "" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestAltName(t *testing.T) {
	s := newSide(t, "host")
	long := strings.Repeat("n", maxAltName)
	s.must(t, func(b *Batch) {
		b.Create(Bridge{Link: Link{Index: 10, Name: "br0"}})
		b.Create(AltName{Link: 10, Name: long})
		b.Create(AltName{Link: 10, Name: "other"})
	})
	if out := nstest.Run(t, s.ns.Path(), "ip", "link", "show", "br0"); !strings.Contains(out, "altname "+long) {
		t.Error(out)
	}
	if i, err := s.Index("other"); err != nil || i != 10 {
		t.Errorf("index %d, %v", i, err)
	}
	for _, name := range []string{long, "other"} {
		if l, err := s.Link(name); err != nil || l.Name != "br0" {
			t.Errorf("by %s: %+v, %v", name, l.Link, err)
		}
	}
	if _, err := s.Link(long + "n"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("by a name that's too long: %v", err)
	}
	if l, err := s.Link("br0"); err != nil || !slices.Equal(l.AltNames, []string{long, "other"}) {
		t.Errorf("%q, %v", l.AltNames, err)
	}
	for _, test := range []struct {
		fill func(b *Batch)
		is   error
		text string
	}{
		{func(b *Batch) { b.Create(AltName{Link: 1, Name: "other"}) }, fs.ErrExist, "create altname other dev 1"},
		{func(b *Batch) { b.Create(Bridge{Link: Link{Name: "other"}}) }, fs.ErrExist, ""},
		{func(b *Batch) { b.Delete(AltName{Link: 10, Name: "nosuch"}) }, fs.ErrNotExist, "delete altname nosuch dev 10"},
		{func(b *Batch) { b.Create(AltName{Link: 99, Name: "x"}) }, fs.ErrNotExist, ""},
		{func(b *Batch) { b.Create(AltName{Link: 10, Name: long + "n"}) }, syscall.ENAMETOOLONG, "at most 127 bytes"},
		{func(b *Batch) { b.Create(AltName{Link: 10}) }, syscall.EINVAL, "isn't empty"},
		{func(b *Batch) { b.Create(AltName{Link: 10, Name: "a\x00b"}) }, syscall.EINVAL, "zero byte"},
	} {
		if err := s.refused(t, test.fill); !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("got %v, want %v and %q", err, test.is, test.text)
		}
	}
	var b Batch
	b.Set(AltName{Link: 10, Name: "x"})
	if err := s.Do(&b); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("set of an altname:", err)
	}
	s.must(t, func(b *Batch) { b.Delete(AltName{Link: 10, Name: "other"}) })
	if _, err := s.Index("other"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
