// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

func TestAbsentIsErrNotExist(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		errno  syscall.Errno
		change string
		fill   func(b *Batch)
	}{
		{syscall.ENODEV, "delete link nosuch", func(b *Batch) { b.Delete(Link{Name: "nosuch"}) }},
		{syscall.ENODEV, "delete link 999", func(b *Batch) { b.Delete(Link{Index: 999}) }},
		{syscall.ENODEV, "set link nosuch up", func(b *Batch) { b.Set(Link{Name: "nosuch", State: Up}) }},
		{syscall.ENODEV, "set port nosuch hairpin on", func(b *Batch) { b.Set(Port{Name: "nosuch", Hairpin: On}) }},
		{syscall.ENODEV, "create address 10.9.0.1/24 dev 999", func(b *Batch) { b.Create(Addr{Link: 999, Prefix: prefix("10.9.0.1/24")}) }},
		{syscall.EADDRNOTAVAIL, "delete address 10.9.0.1/24 dev 10", func(b *Batch) { b.Delete(Addr{Link: 10, Prefix: prefix("10.9.0.1/24")}) }},
		{syscall.EADDRNOTAVAIL, "delete address fd09::1/64 dev 10", func(b *Batch) { b.Delete(Addr{Link: 10, Prefix: prefix("fd09::1/64")}) }},
		{syscall.ESRCH, "delete route 10.9.0.0/24", func(b *Batch) { b.Delete(Route{Dst: prefix("10.9.0.0/24")}) }},
		{syscall.ESRCH, "delete route fd09::/64", func(b *Batch) { b.Delete(Route{Dst: prefix("fd09::/64")}) }},
		{syscall.ENOENT, "delete neigh 10.9.0.1 dev 10", func(b *Batch) { b.Delete(Neigh{Link: 10, Addr: netip.MustParseAddr("10.9.0.1")}) }},
		{syscall.ENOENT, "delete fdb 02:00:00:00:00:01 dev 20", func(b *Batch) { b.Delete(Neigh{Link: 20, MAC: mac(t, "02:00:00:00:00:01")}) }},
	} {
		e := host.refused(t, test.fill)
		if e.Errno != test.errno || e.Change != test.change || !errors.Is(e, fs.ErrNotExist) || errors.Is(e, fs.ErrExist) {
			t.Errorf("got %v (%d), want %s: %v", e, e.Errno, test.change, test.errno)
		}
	}
	for what, err := range map[string]error{
		"Index": second(host.Index("nosuch")), "Name": second(host.Name(999)), "MAC": second(host.MAC("nosuch")), "MTU": second(host.MTU("nosuch")),
		"Flags": second(host.Flags("nosuch")), "Link": second(host.Link("nosuch")), "LinkByIndex": second(host.LinkByIndex(999)),
		"Bridge": second(host.Bridge("nosuch")), "Port": second(host.Port("nosuch")),
		"Macvlan": second(host.Macvlan("nosuch")), "IPVLAN": second(host.IPVLAN("nosuch")),
		"VLAN": second(host.VLAN("nosuch")), "VRF": second(host.VRF("nosuch")),
		"Index of a long name": second(host.Index("a-name-of-16-byte")), "Link of a long name": second(host.Link("a-name-of-16-byte")),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s says %v, want fs.ErrNotExist", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTakenIsErrExist(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	gateway := netip.MustParseAddr("10.1.0.2")
	host.must(t, func(b *Batch) {
		b.Create(Addr{Link: 10, Prefix: netip.MustParsePrefix("10.1.0.1/24")})
		b.Create(DefaultRoute(gateway))
	})
	for _, fill := range []func(b *Batch){
		func(b *Batch) { b.Create(Bridge{Link: Link{Name: "cni0"}}) },
		func(b *Batch) { b.Create(Addr{Link: 10, Prefix: netip.MustParsePrefix("10.1.0.1/24")}) },
		func(b *Batch) { b.Create(DefaultRoute(netip.MustParseAddr("10.1.0.3"))) },
		func(b *Batch) { b.Append(DefaultRoute(gateway)) },
		func(b *Batch) { b.Prepend(DefaultRoute(gateway)) },
	} {
		if e := host.refused(t, fill); !errors.Is(e, fs.ErrExist) {
			t.Errorf("got %v, want fs.ErrExist", e)
		}
	}
	// A bridge is ensured, a link of another kind isn't turned into one.
	host.must(t, func(b *Batch) { b.Ensure(Bridge{Link: Link{Name: "cni0", State: Up}}) })
	e := host.refused(t, func(b *Batch) { b.Ensure(Bridge{Link: Link{Name: "host0", State: Up}}) })
	if e.Errno != syscall.EOPNOTSUPP {
		t.Errorf("ensuring a bridge under a veth's name: %v, want EOPNOTSUPP", e)
	}
}

func TestWhatCannotBeSentSendsNothing(t *testing.T) {
	host := newSide(t, "host")
	long := strings.Repeat("x", 16)
	for _, test := range []struct {
		errno error
		fill  func(b *Batch)
	}{
		{syscall.ENAMETOOLONG, func(b *Batch) { b.Create(Bridge{Link: Link{Name: long}}) }},
		{syscall.ENAMETOOLONG, func(b *Batch) { b.Create(Veth{Link: Link{Name: "a"}, Peer: Link{Name: long}}) }},
		{syscall.ENAMETOOLONG, func(b *Batch) { b.Delete(Link{Name: long}) }},
		{syscall.ENAMETOOLONG, func(b *Batch) { b.Set(Link{Name: "lo", Alias: strings.Repeat("x", 256)}) }},
		{syscall.EINVAL, func(b *Batch) { b.Create(Bridge{Link: Link{Name: "a\x00b"}}) }},
		{syscall.EINVAL, func(b *Batch) { b.Create(Bridge{Link: Link{Name: "a", LinkLocal: Off}}) }},
		{syscall.EINVAL, func(b *Batch) { b.Ensure(Bridge{Link: Link{Index: 7, Name: "a"}}) }},
		{syscall.EINVAL, func(b *Batch) { b.Create(Veth{Link: Link{Name: "a"}, Peer: Link{Name: "b", Index: 9}}) }},
		{syscall.EINVAL, func(b *Batch) { b.Create(Veth{Link: Link{Name: "a", Index: 9}, Peer: Link{Name: "b", Index: 9}}) }},
		{syscall.EINVAL, func(b *Batch) { b.Create(Addr{Link: 1}) }},
		{syscall.EINVAL, func(b *Batch) { b.Create(Route{Link: 1}) }},
		{syscall.ERANGE, func(b *Batch) { b.Create(PortVLAN{Link: 1, VID: 4095}) }},
		{syscall.ERANGE, func(b *Batch) { b.Delete(PortVLAN{Link: 1}) }},
		{errors.ErrUnsupported, func(b *Batch) { b.Set(Addr{Link: 1}) }},
		{errors.ErrUnsupported, func(b *Batch) { b.Set(Route{}) }},
		{errors.ErrUnsupported, func(b *Batch) { b.Create(Port{}) }},
		{errors.ErrUnsupported, func(b *Batch) { b.Set(PortVLAN{}) }},
	} {
		var b Batch
		b.Create(Bridge{Link: Link{Name: "first"}})
		test.fill(&b)
		err := host.Do(&b)
		if !errors.Is(err, test.errno) {
			t.Errorf("got %v, want %v", err, test.errno)
		}
		if _, ok := as[Refused](err); ok {
			t.Errorf("%v passes for the kernel's refusal", err)
		}
		if e, ok := as[*Error](err); ok && (e.Step != 1 || e.Reason == "" || !strings.Contains(e.Error(), e.Change)) {
			t.Errorf("error is %+v", e)
		}
		if _, err := host.Index("first"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("something was sent: %v", err)
		}
		if b.Reset(); b.Len() != 0 || host.Do(&b) != nil {
			t.Error("a reset batch isn't empty")
		}
	}
}

func TestLookups(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	link, err := host.Link("host0")
	if err != nil {
		t.Fatal(err)
	}
	if i, err := host.Index("host0"); err != nil || i != 20 {
		t.Errorf("index %d: %v", i, err)
	}
	if n, err := host.Name(20); err != nil || n != "host0" {
		t.Errorf("name %q: %v", n, err)
	}
	if m, err := host.MAC("host0"); err != nil || m.String() != link.MAC.String() {
		t.Errorf("MAC %v, want %v: %v", m, link.MAC, err)
	}
	if m, err := host.MTU("host0"); err != nil || m != 1500 {
		t.Errorf("MTU %d: %v", m, err)
	}
	if f, err := host.Flags("host0"); err != nil || !f.Up || f.Promisc {
		t.Errorf("flags %+v: %v", f, err)
	}
	// A port makes its link promiscuous without the flag; the container's end coming up makes it
	// run, soon.
	if link.Promisc != Off || link.Promiscuity != 1 || link.OperState == OperUp {
		t.Errorf("link %+v", link)
	}
	container.must(t, func(b *Batch) { b.Set(Link{Name: "eth0", State: Up}) })
	host.must(t, func(b *Batch) { b.Set(Link{Name: "cni0", Promisc: On}) })
	if err := host.WaitUp(20, time.Minute); err != nil {
		t.Error(err)
	}
	if link, err = host.LinkByIndex(20); err != nil || link.OperState != OperUp {
		t.Errorf("link %+v: %v", link, err)
	}
	if f, err := host.Flags("cni0"); err != nil || !f.Promisc {
		t.Errorf("flags %+v: %v", f, err)
	}
	if _, err := host.Bridge("host0"); err != ErrNotBridge {
		t.Errorf("got %v, want ErrNotBridge", err)
	}
	if _, err := host.Port("cni0"); err != ErrNotPort {
		t.Errorf("got %v, want ErrNotPort", err)
	}
	if g, err := host.Bridge("cni0"); err != nil || g.AgeingTime.Seconds() != 300 || g.Index != 10 {
		t.Errorf("bridge %+v: %v", g, err)
	}
}

func TestThousandRefusalsInOneBatch(t *testing.T) {
	host := newSide(t, "host")
	const n = 1000
	var b Batch
	for i := range n {
		b.Delete(Link{Name: fmt.Sprintf("nosuch%d", i)})
	}
	b.Create(Bridge{Link: Link{Name: "last"}})
	err := host.Do(&b)
	refused, ok := as[Refused](err)
	if !ok || len(refused) != n {
		t.Fatalf("%d refusals, want %d: %T", len(refused), n, err)
	}
	for i, e := range refused {
		if e.Step != i || e.Change != fmt.Sprintf("delete link nosuch%d", i) {
			t.Fatalf("refusal %d is %+v", i, e)
		}
	}
	if _, err := host.Index("last"); err != nil {
		t.Error(err)
	}
}

func TestThousandDeletesInOneBatch(t *testing.T) {
	host := newSide(t, "host")
	const n = 1000
	var b Batch
	for i := range n {
		b.Create(Addr{Link: 1, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 256), byte(i)}), 32)})
	}
	if err := host.Do(&b); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	for i := range n {
		b.Delete(Addr{Link: 1, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 256), byte(i)}), 32)})
	}
	if b.Len() != n {
		t.Errorf("%d steps", b.Len())
	}
	if err := host.Do(&b); err != nil {
		t.Fatal(err)
	}
	for a, err := range host.Addrs(1, 0) {
		t.Errorf("left: %+v %v", a, err)
	}
}

// TestLostAnswers: with a receive buffer that's far too small, answers are lost. That's said, and
// late answers that remain don't pass for those of the next request.
func TestLostAnswers(t *testing.T) {
	host := newSide(t, "host")
	if err := unix.SetsockoptInt(host.sock.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	var b Batch
	for range 100 {
		b.Delete(Link{Name: "nosuch"})
	}
	b.Create(Bridge{Link: Link{Name: "made"}})
	err := host.Do(&b)
	if !errors.Is(err, unix.ENOBUFS) || !strings.Contains(err.Error(), "answers were lost") {
		t.Fatalf("got %v, want ENOBUFS", err)
	}
	if _, err := host.Index("made"); err != nil {
		t.Errorf("a change was lost with its answer: %v", err)
	}
	b.Reset()
	b.Set(Link{Name: "lo", State: Up})
	if err := host.Do(&b); err != nil {
		t.Errorf("next batch: %v", err)
	}
	if e := host.refused(t, func(b *Batch) { b.Delete(Link{Index: 999}) }); e.Change != "delete link 999" {
		t.Errorf("got %v", e)
	}
	if l, err := host.Link("made"); err != nil || l.Name != "made" {
		t.Errorf("link %+v: %v", l, err)
	}
}

func TestSequenceNumbersWrap(t *testing.T) {
	host := newSide(t, "host")
	host.seq = ^uint32(0) - 1
	for range 3 {
		e := host.refused(t, func(b *Batch) {
			b.Set(Link{Name: "lo", MTU: 65536})
			b.Delete(Link{Name: "nosuch"})
		})
		if e.Step != 1 {
			t.Errorf("refused %+v", e)
		}
		if _, err := host.Link("lo"); err != nil {
			t.Error(err)
		}
	}
}

// TestManyAtOnce attaches from several goroutines, each with conns of its own, and leaves no
// descriptor behind.
func TestManyAtOnce(t *testing.T) {
	host := newSide(t, "host")
	host.must(t, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}}) })
	fds, threads := count(t, "/proc/self/fd"), count(t, "/proc/self/task")
	paths := make([]string, 8)
	for i := range paths {
		paths[i] = nstest.New(t, "c")
	}
	var wg sync.WaitGroup
	for i, path := range paths {
		wg.Go(func() {
			for round := range 5 {
				if err := attachOnce(host.ns, path, 100+10*i+round); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := count(t, "/proc/self/fd"); got > fds {
		t.Errorf("%d descriptors, before %d", got, fds)
	}
	// Goroutines that wait in system calls have threads; those of the 8 namespaces made above have
	// ended.
	if got := count(t, "/proc/self/task"); got > threads+16 {
		t.Errorf("%d threads, had %d", got, threads)
	}
	for l, err := range host.Links(LinkFilter{Master: 10}) {
		t.Errorf("port is left: %+v %v", l, err)
	}
}

// attachOnce makes and removes an attachment whose host end has an index.
func attachOnce(hostNS *NetNS, path string, index int) error {
	ns, err := OpenNetNS(path)
	if err != nil {
		return err
	}
	defer ns.Close()
	host, err := Dial(hostNS)
	if err != nil {
		return err
	}
	defer host.Close()
	container, err := Dial(ns)
	if err != nil {
		return err
	}
	defer container.Close()
	var h, c, d Batch
	h.Create(Veth{
		Link: Link{Index: index, Name: fmt.Sprintf("host%d", index), Master: 10, State: Up, Queues: 1},
		Peer: Link{Index: 2000, Name: "eth0", NetNS: ns, Queues: 1},
	})
	h.Set(Port{Link: index, Hairpin: On})
	c.Set(Link{Index: 2000, State: Up})
	c.Create(Addr{Link: 2000, Prefix: netip.MustParsePrefix("10.1.0.2/24")})
	c.Create(DefaultRoute(netip.MustParseAddr("10.1.0.1")))
	d.Delete(Link{Index: index})
	return errors.Join(host.Do(&h), container.Do(&c), host.Do(&d))
}

func count(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestDialRefusesAClosedNamespace(t *testing.T) {
	if _, err := Dial(&NetNS{fd: -1}); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
	c, err := Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	var b Batch
	b.Delete(Link{Name: "x"})
	if err := c.Do(&b); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
	if _, err := c.Link("lo"); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v, want EBADF", err)
	}
}
