// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"
)

// evidence is a record of the usual size.
var evidence = Record{Boot: testBoot, NetNS: 4026531840, Link: "veth0123456789a", Index: 12345, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}}

// seed makes n leases as host-local would, from the second address of subnet on, and lets the store
// take them over.
func seed(t testing.TB, dir, subnet string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir+"/net", 0o755); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParsePrefix(subnet).Addr().Next()
	for i := range n {
		addr = addr.Next()
		content := "seed" + strconv.Itoa(i) + "\r\neth0"
		if err := os.WriteFile(dir+"/net/"+addr.String(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n > 0 {
		if err := os.WriteFile(dir+"/net/last_reserved_ip.0", []byte(addr.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// The first reservation reads all leases and marks the directory.
	req := Request{Owner: owner("warm"), Sets: sets(t, "172.31.0.0/29"), Record: evidence}
	if n > 0 {
		last := Range{Subnet: netip.MustParsePrefix(subnet)}
		set, err := CanonicalSets([]RangeSet{{last}})
		if err != nil {
			t.Fatal(err)
		}
		req.Sets = set
	}
	if _, err := reserve(t, dir, req); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkReserveRelease(b *testing.B) {
	for _, n := range []int{1, 1000, 60000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dir := b.TempDir()
			seed(b, dir, "10.0.0.0/12", n)
			benchPair(b, dir, sets(b, "10.0.0.0/12"))
		})
	}
}

// BenchmarkNearlyFull has one free address, which is never the first candidate.
func BenchmarkNearlyFull(b *testing.B) {
	for _, n := range []int{1000, 60000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			dir := b.TempDir()
			seed(b, dir, "10.0.0.0/12", n)
			full := nearlyFull(b, dir, n)
			benchPair(b, dir, full)
		})
	}
}

// nearlyFull returns a range with one free address behind the seed's leases and the warm one, which
// is moved to the middle of the range.
func nearlyFull(t testing.TB, dir string, n int) []RangeSet {
	t.Helper()
	start := netip.MustParseAddr("10.0.0.2")
	end := start
	for range n {
		end = end.Next()
	}
	full, err := CanonicalSets([]RangeSet{{{Subnet: netip.MustParsePrefix("10.0.0.0/12"), Start: start, End: end}}})
	if err != nil {
		t.Fatal(err)
	}
	release(t, dir, owner("seed"+strconv.Itoa(n/2)))
	return full
}

func benchPair(b *testing.B, dir string, set []RangeSet) {
	o := Owner{ContainerID: "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", IfName: "eth0"}
	req := Request{Owner: o, Sets: set, Record: evidence}
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open(context.Background(), dir, "net")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Reserve(req); err != nil {
			b.Fatal(err)
		}
		s.Close()
		if s, err = OpenExisting(context.Background(), dir, "net"); err != nil {
			b.Fatal(err)
		}
		if err := s.Release(o); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
}
