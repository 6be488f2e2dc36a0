// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSysctlsFreezeNobody: a program that gives containers IPv6 goes on while another removes 900
// links. Writing disable_ipv6 waits for the removal's end; a collection of garbage that waited for
// that write as well would stop all goroutines for almost as long. On a busy machine a collection
// takes a while anyway, so a third of the removals' time is the bound.
func TestSysctlsFreezeNobody(t *testing.T) {
	const links, rounds = 900, 3
	other, container := newSide(t, "other"), newSide(t, "container")
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for !closed(done) {
			start := time.Now()
			sysctls := []Sysctl{{Path: "/proc/sys/net/ipv6/conf/lo/disable_ipv6", Value: "0"}}
			conn, err := DialWith(t.Context(), container.ns, sysctls)
			if err != nil || sysctls[0].Err != nil {
				t.Error(err, sysctls[0].Err)
				return
			}
			conn.Close()
			time.Sleep(time.Since(start)) // where there is but one CPU, the removal needs it too
		}
	})
	var worst atomic.Int64
	all.Go(func() {
		for stats := (debug.GCStats{}); !closed(done); {
			start := time.Now()
			runtime.GC()
			debug.ReadGCStats(&stats)
			worst.Store(max(worst.Load(), int64(stats.Pause[0])))
			time.Sleep(max(time.Millisecond, time.Since(start)))
		}
	})
	var removals, pauses time.Duration
	for range rounds {
		other.must(t, func(b *Batch) { addGroup(b, links) })
		worst.Store(0)
		start := time.Now()
		other.must(t, func(b *Batch) { b.Delete(Link{Group: 7}) })
		removals += time.Since(start)
		pauses += time.Duration(worst.Load())
	}
	close(done)
	all.Wait()
	if pauses > removals/3 {
		t.Errorf("%d removals of %d links took %v, and the longest pauses meanwhile %v", rounds, links, removals, pauses)
	}
}

func closed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// addGroup adds pairs of links, each with one of group 7 that has addresses: what takes time to
// remove.
func addGroup(b *Batch, count int) {
	const addrs, first = 4, 1000
	for i := range count {
		b.Create(Veth{
			Link: Link{Index: first + i, Name: fmt.Sprint("a", i), Group: 7, Queues: 1, State: Up},
			Peer: Link{Index: first + count + i, Name: fmt.Sprint("b", i), Queues: 1},
		})
		b.Set(Link{Name: fmt.Sprint("b", i), State: Up})
	}
	for i := range addrs * count {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		b.Create(Addr{Link: first + i/addrs, Prefix: netip.PrefixFrom(addr, 24)})
	}
}
