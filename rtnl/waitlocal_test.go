// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestWaitLocal(t *testing.T) {
	host, container := newSide(t, "host"), newSide(t, "container")
	attach(t, host, container)
	container.must(t, func(b *Batch) { b.Set(Link{Index: 30, State: Up}) })
	// Most times an address isn't in use when it was added just now.
	addr := netip.MustParseAddr("fd00::1")
	for range 200 {
		addr = addr.Next()
		container.must(t, func(b *Batch) { b.Create(Addr{Link: 30, Prefix: netip.PrefixFrom(addr, 64), NoDAD: true}) })
		if err := container.WaitLocal(addr, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, local, err := container.RouteTo(addr); err != nil || !local {
			t.Fatalf("after the wait: %+v, %v", local, err)
		}
	}
	err := container.WaitLocal(netip.MustParseAddr("fd00::1:1"), time.Millisecond)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of an address that isn't there: %v", err)
	}
	// The bound is gone with the wait, and the conn serves on.
	if _, err := container.Link("eth0"); err != nil {
		t.Error(err)
	}
}
