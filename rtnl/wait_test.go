// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestWaitDAD(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	addr := netip.MustParsePrefix("fd00::2/64")
	start := time.Now()
	container.must(t, func(b *Batch) {
		b.Create(Addr{Link: 30, Prefix: addr})
		b.Set(Link{Index: 30, State: Up})
	})
	if err := container.WaitDAD(30, time.Minute); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(start); waited < 100*time.Millisecond {
		t.Errorf("detection was over in %v: it can't have happened", waited)
	}
	n := 0
	for a, err := range container.Addrs(30, unix.AF_INET6) {
		if err != nil || a.Tentative {
			t.Errorf("after the wait: %+v %v", a, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d addresses, want the link-local one and %v", n, addr)
	}
	// The conn serves on, whatever events are left in its queue.
	container.must(t, func(b *Batch) { b.Delete(Addr{Link: 30, Prefix: addr}) })
	if err := container.WaitDAD(30, time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := container.Link("eth0"); err != nil {
		t.Error(err)
	}
	container.must(t, func(b *Batch) { b.Create(Addr{Link: 30, Prefix: addr, NoDAD: true}) })
	if err := container.WaitDAD(30, time.Millisecond); err != nil {
		t.Errorf("with NoDAD: %v", err)
	}
}

func TestWaitDADSeesADuplicate(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	addr := netip.MustParsePrefix("fd00::2/64")
	host.must(t, func(b *Batch) { b.Create(Addr{Link: 10, Prefix: addr, NoDAD: true}) })
	container.must(t, func(b *Batch) {
		b.Set(Link{Index: 30, State: Up})
		b.Create(Addr{Link: 30, Prefix: addr})
	})
	err := container.WaitDAD(30, time.Minute)
	e, ok := as[*DADFailedError](err)
	if !ok || e.Addr != addr.Addr() || e.Link != 30 {
		t.Fatalf("got %v, want a duplicate of %v", err, addr)
	}
	// A failed address stays, and is a failure to the next wait too.
	if again := container.WaitDAD(30, time.Minute); again == nil || again.Error() != err.Error() {
		t.Errorf("got %v, want %v", again, err)
	}
	if ok, err := container.HasAddr(30, addr); err != nil || !ok {
		t.Errorf("has it: %v %v", ok, err)
	}
	if ok, err := container.HasAddr(30, netip.MustParsePrefix("fd00::3/64")); err != nil || ok {
		t.Errorf("has another: %v %v", ok, err)
	}
}

func TestWaitDADIsBounded(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	// Of a link that's down, addresses stay tentative.
	container.must(t, func(b *Batch) {
		b.Create(Addr{Link: 30, Prefix: netip.MustParsePrefix("fd00::3/64")})
		b.Create(Addr{Link: 30, Prefix: netip.MustParsePrefix("fd00::2/64")})
	})
	start := time.Now()
	err := container.WaitDAD(30, 50*time.Millisecond)
	e, ok := as[*DADTimeoutError](err)
	if !ok || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	want := []netip.Addr{netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::3")}
	if !slices.Equal(e.Addrs, want) || e.Timeout != 50*time.Millisecond {
		t.Errorf("got %+v, want %v", e, want)
	}
	if took := time.Since(start); took < 50*time.Millisecond {
		t.Errorf("waited %v", took)
	}
	// The bound is gone with the wait: nothing else on the conn times out.
	if _, err := container.Link("eth0"); err != nil {
		t.Error(err)
	}
}
