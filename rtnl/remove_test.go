// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// TestRemovedIsGone removes a port, finds it gone at both ends, and makes it again at once under
// the same names and indexes, many times over one conn.
func TestRemovedIsGone(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}}) })
	for range 30 {
		host.must(t, func(b *Batch) {
			b.Create(Veth{
				Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, Queues: 1},
				Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns, Queues: 1},
			})
		})
		container.must(t, func(b *Batch) { b.Set(Link{Index: 30, State: Up}) })
		if err := host.Remove(t.Context(), 20); err != nil {
			t.Fatal(err)
		}
		if _, err := host.Index("host0"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("host end is there: %v", err)
		}
		if _, err := container.Index("eth0"); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("container end is there: %v", err)
		}
	}
}

func TestRemoveWhatIsAbsent(t *testing.T) {
	host := newSide(t, "host")
	for _, index := range []int{999, 0, -1} {
		err := host.Remove(t.Context(), index)
		if e, ok := as[*Error](err); !ok || !errors.Is(err, fs.ErrNotExist) || !contains(e.Change, "delete link") {
			t.Errorf("removing %d: %v", index, err)
		}
	}
	// lo can't be removed, and says so.
	if err := host.Remove(t.Context(), 1); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("removing lo: %v, want EOPNOTSUPP", err)
	}
	if _, err := host.Link("lo"); err != nil {
		t.Error(err)
	}
}

// sentBy is a context whose removals are sent by a function.
func sentBy(t *testing.T, send offload.Sender) context.Context {
	return context.WithValue(t.Context(), offload.Key{}, send)
}

func TestRemoveTellsOfItsSender(t *testing.T) {
	host := newSide(t, "host")
	host.must(t, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "cni0"}}) })
	sentinel := errors.New("no helper")
	if err := host.Remove(sentBy(t, func(int, []byte) error { return sentinel }), 10); !errors.Is(err, sentinel) {
		t.Errorf("got %v", err)
	}
	if _, err := host.Index("cni0"); err != nil {
		t.Error(err)
	}
	sent := 0
	err := host.Remove(sentBy(t, func(fd int, m []byte) error {
		sent++
		return unix.Sendto(fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}), 10)
	if err != nil || sent != 1 {
		t.Errorf("sent %d times: %v", sent, err)
	}
	if _, err := host.Index("cni0"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestRemoveAmongOthersEvents: a conn that's deafened by events still learns that its link is gone.
func TestRemoveAmongOthersEvents(t *testing.T) {
	host := newSide(t, "host")
	if err := unix.SetsockoptInt(host.sock.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		t.Fatal(err)
	}
	host.must(t, func(b *Batch) { b.Create(Veth{Link: Link{Index: 20, Name: "a"}, Peer: Link{Index: 21, Name: "b"}}) })
	if err := host.Remove(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Index("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestRemoveAfterCancel: a context that's done already doesn't keep what ends at once from ending.
func TestRemoveAfterCancel(t *testing.T) {
	host := newSide(t, "host")
	host.must(t, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "cni0"}}) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := host.Remove(ctx, 10); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Index("cni0"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func BenchmarkRemove(b *testing.B) {
	for _, bench := range []struct {
		name   string
		remove func(s side) error
	}{
		{"unlisted", func(s side) error { return s.Remove(b.Context(), 20) }},
		{"acknowledged", func(s side) error {
			var b Batch
			b.Delete(Link{Index: 20})
			return s.Do(&b)
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			host, container := newSide(b, "host"), newSide(b, "container")
			host.must(b, func(b *Batch) { b.Create(Bridge{Link: Link{Index: 10, Name: "cni0", State: Up}}) })
			for b.Loop() {
				b.StopTimer()
				host.must(b, func(b *Batch) {
					b.Create(Veth{
						Link: Link{Index: 20, Name: "host0", Master: 10, State: Up, Queues: 1},
						Peer: Link{Index: 30, Name: "eth0", NetNS: container.ns, Queues: 1},
					})
				})
				b.StartTimer()
				if err := bench.remove(host); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A link of another namespace is removed from here, time and again. Nothing of it is left there.
func TestRemoveBy(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "parent", State: Up}, Peer: Link{Name: "far"}})
	})
	for range 10 {
		host.must(t, func(b *Batch) {
			b.Create(Macvlan{Link: Link{Index: 77, Name: "eth0", NetNS: container.ns}, Parent: 20, Mode: MacvlanBridge})
		})
		if err := container.RemoveBy(t.Context(), host.Conn, container.ns, 77); err != nil {
			t.Fatal(err)
		}
		if _, err := container.Name(77); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("the link is there: %v", err)
		}
	}
	if _, err := host.Index("parent"); err != nil {
		t.Error(err)
	}
}

// Of the links of numbered namespaces those go that are asked for, and no others.
func TestRemoveEverywhere(t *testing.T) {
	host, c1, c2 := newSide(t, "host"), newSide(t, "c1"), newSide(t, "c2")
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "parent", State: Up}, Peer: Link{Name: "far"}})
		for _, s := range []side{c1, c2} {
			b.Create(Macvlan{Link: Link{Index: 77, Name: "eth0", NetNS: s.ns}, Parent: 20, Mode: MacvlanBridge})
			b.Create(Macvlan{Link: Link{Index: 78, Name: "eth1", NetNS: s.ns}, Parent: 20, Mode: MacvlanBridge})
		}
	})
	for range 2 { // a second number isn't given
		if err := host.Number(c1.ns); err != nil {
			t.Fatal(err)
		}
	}
	if err := host.RemoveEverywhere(LinkFilter{Kind: "macvlan"}, func(l Link) bool { return l.Name == "eth0" }); err != nil {
		t.Fatal(err)
	}
	for _, left := range []struct {
		side  side
		index int
		there bool
	}{{c1, 77, false}, {c1, 78, true}, {c2, 77, true}, {c2, 78, true}} {
		if _, err := left.side.Name(left.index); (err == nil) != left.there {
			t.Errorf("link %d: %v, want it there: %v", left.index, err, left.there)
		}
	}
}

// A namespace that ends between the question and the deletion takes its links along.
func TestRemoveEverywhereFromDyingNamespace(t *testing.T) {
	host, alive := newSide(t, "host"), newSide(t, "alive")
	path := nstest.New(t, "dying")
	dying, err := OpenNetNS(path)
	if err != nil {
		t.Fatal(err)
	}
	host.must(t, func(b *Batch) {
		b.Create(Veth{Link: Link{Index: 20, Name: "parent", State: Up}, Peer: Link{Name: "far"}})
		for _, ns := range []*NetNS{dying, alive.ns} {
			b.Create(Macvlan{Link: Link{Index: 77, Name: "eth0", NetNS: ns}, Parent: 20, Mode: MacvlanBridge})
		}
	})
	number, err := host.numberOf(dying)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Number(alive.ns); err != nil {
		t.Fatal(err)
	}
	other, err := Dial(host.ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	end := sync.OnceFunc(func() {
		dying.Close()
		nstest.Remove(path)
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if _, err := other.linksIn(&number, LinkFilter{}); errors.Is(err, unix.EINVAL) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the namespace doesn't end")
			}
		}
	})
	if err := host.RemoveEverywhere(LinkFilter{Kind: "macvlan"}, func(Link) bool { end(); return true }); err != nil {
		t.Error(err)
	}
	if _, err := alive.Name(77); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link of the other namespace is there: %v", err)
	}
}
