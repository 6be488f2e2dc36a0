// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// nobody and everybody are answers of Request.Alive.
func nobody(Record) bool    { return false }
func everybody(Record) bool { return true }

func addrs(text string) []netip.Addr {
	var all []netip.Addr
	for a := range strings.FieldsSeq(text) {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

func write(t testing.TB, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "net", name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err error, text string) {
	t.Helper()
	if err == nil || err.Error() != text {
		t.Errorf("got %v, want %s", err, text)
	}
}

func TestRequestedAddresses(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/29 10.2.0.0/29")
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Want: addrs("::ffff:10.2.0.5 10.2.0.5")}, "10.1.0.2 10.2.0.5")
	_, err := reserve(t, dir, Request{Owner: owner("c2"), Sets: set, Want: addrs("10.1.0.1")})
	wantError(t, err, "failed to allocate for range 0: requested ip 10.1.0.1 is subnet's gateway")
	_, err = reserve(t, dir, Request{Owner: owner("c2"), Sets: set, Want: addrs("10.2.0.5")})
	wantError(t, err, "failed to allocate for range 1: requested IP address 10.2.0.5 is not available in range set 10.2.0.1-10.2.0.6")
	if taken, ok := as[*TakenError](err); !ok || taken.Owner != owner("c1") || !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v doesn't tell who holds it", err)
	}
	_, err = reserve(t, dir, Request{Owner: owner("c2"), Sets: set, Want: addrs("10.1.0.4 10.9.0.1 10.1.0.5")})
	wantError(t, err, "failed to allocate all requested IPs: 10.9.0.1 10.1.0.5")
	_, err = reserve(t, dir, Request{Owner: owner("c1"), Sets: set, Want: addrs("10.1.0.2")})
	wantError(t, err, "failed to allocate for range 0: requested IP address 10.1.0.2 is not available in range set 10.1.0.1-10.1.0.6")
	_, err = reserve(t, dir, Request{Owner: owner("c1"), Sets: set, Want: addrs("10.1.0.4")})
	wantError(t, err, "failed to allocate for range 0: 10.1.0.2 has been allocated to c1, duplicate allocation is not allowed")
	check(t, dir)
	want := "10.1.0.2 -rw------- c1|eth0\n10.2.0.5 -rw------- c1|eth0\nlast_reserved_ip.0 -rw------- 10.1.0.4\nlast_reserved_ip.1 -rw------- 10.2.0.6\nlock -rwxr-x--- \n"
	if got := contents(t, dir); got != want {
		t.Errorf("the directory holds\n%swant\n%s", got, want)
	}
	release(t, dir, owner("c1"))
	mustReserve(t, dir, Request{Owner: owner("c2"), Sets: set, Want: addrs("10.1.0.6")}, "10.1.0.6 10.2.0.2")
}

func TestFailureTakesNothingElse(t *testing.T) {
	dir := t.TempDir()
	first, both := sets(t, "10.1.0.0/29"), sets(t, "10.2.0.0/29 10.1.0.0/29")
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: first, Record: evidence}, "10.1.0.2")
	_, err := reserve(t, dir, Request{Owner: owner("c1"), Sets: both, Record: evidence, Alive: everybody})
	wantError(t, err, "failed to allocate for range 1: 10.1.0.2 has been allocated to c1, duplicate allocation is not allowed")
	s := mustOpen(t, dir)
	r, ok, err := s.Lookup(owner("c1"))
	s.Close()
	if !ok || err != nil || fmt.Sprint(r.Addrs) != "[10.1.0.2]" || r.Link != evidence.Link {
		t.Errorf("the live attachment holds %+v, %v, %v", r, ok, err)
	}
	// Outside of its present ranges, a lease is no duplicate, and both end together.
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: both[:1], Record: evidence}, "10.2.0.3")
	check(t, dir)
	release(t, dir, owner("c1"))
	if got := contents(t, dir); strings.Contains(got, "c1") {
		t.Errorf("left: %s", got)
	}
}

func TestDeadAttachmentGivesItsAddressBack(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/29 2001:db8::/64")
	req := Request{Owner: owner("c1"), Sets: set, Record: evidence, Alive: nobody}
	mustReserve(t, dir, req, "10.1.0.2 2001:db8::2")
	mustReserve(t, dir, Request{Owner: owner("c2"), Sets: set, Record: evidence, Alive: nobody}, "10.1.0.3 2001:db8::3")
	mustReserve(t, dir, req, "10.1.0.2 2001:db8::2")
	req.Want = addrs("10.1.0.3") // held by c2, which is dead
	mustReserve(t, dir, req, "10.1.0.3 2001:db8::2")
	check(t, dir)
	req.Owner, req.Alive = owner("c3"), everybody
	if _, err := reserve(t, dir, req); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the address of a live attachment was given: %v", err)
	}
	check(t, dir)
}

func TestExhaustion(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/29")
	write(t, dir, "10.1.0.3", "old")
	for i, want := range []string{"10.1.0.2", "10.1.0.4", "10.1.0.5", "10.1.0.6"} {
		mustReserve(t, dir, Request{Owner: owner(fmt.Sprint("c", i)), Sets: set, Record: evidence, Alive: everybody}, want)
	}
	_, err := reserve(t, dir, Request{Owner: owner("c9"), Sets: set, Record: evidence, Alive: everybody})
	e, ok := as[*ExhaustedError](err)
	if !ok || e.Leases != 5 || e.Stale != 0 || e.Unproven != 1 || !strings.Contains(err.Error(), "no IP addresses available in range set: 10.1.0.1-10.1.0.6") {
		t.Fatalf("got %v", err)
	}
	check(t, dir)
	dead := func(r Record) bool { return r.Owner != owner("c2") }
	mustReserve(t, dir, Request{Owner: owner("c9"), Sets: set, Record: evidence, Alive: dead}, "10.1.0.5")
	check(t, dir)
	if got := contents(t, dir); !strings.Contains(got, "10.1.0.3 -rw------- old\n") {
		t.Errorf("a lease without evidence was reclaimed:\n%s", got)
	}
}

func TestRebootReclaims(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/24")
	for i := range 5 {
		mustReserve(t, dir, Request{Owner: owner(fmt.Sprint("c", i)), Sets: set, Record: evidence, Alive: everybody}, fmt.Sprint("10.1.0.", i+2))
	}
	s := mustOpen(t, dir)
	s.Close()
	write(t, dir, "10.1.0.9", "") // what the power cut left
	write(t, dir, "10.1.0.10", "reference\r\neth0")
	write(t, dir, "10.1.0.3", "") // ours, torn
	now := evidence
	now.Boot = "b2a5ad1d-0000-4b5f-9d2c-0d5f7f1f6c02"
	alive := func(r Record) bool { return r.Boot == now.Boot }
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: now, Alive: alive}, "10.1.0.7")
	check(t, dir)
	want := "10.1.0.10 -rw------- reference|eth0\n10.1.0.7 -rw------- c1|eth0\nlast_reserved_ip.0 -rw------- 10.1.0.7\nlock -rwxr-x--- \n"
	if got := contents(t, dir); got != want {
		t.Errorf("the directory holds\n%swant\n%s", got, want)
	}
}

func TestOldLeases(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/29")
	write(t, dir, "10.1.0.3", "c1\n")
	write(t, dir, "10.1.0.4", "c1")
	_, err := reserve(t, dir, Request{Owner: owner("c1"), Sets: set})
	wantError(t, err, "failed to allocate for range 0: 10.1.0.3 has been allocated to c1, duplicate allocation is not allowed")
	if _, err := reserve(t, dir, Request{Owner: owner("c1"), Sets: set}); err == nil {
		t.Error("an old lease counts once only")
	}
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: sets(t, "10.2.0.0/29")}, "10.2.0.2")
	release(t, dir, owner("c1")) // its own first
	if got := contents(t, dir); !strings.Contains(got, "10.1.0.3") || strings.Contains(got, "10.2.0.2 ") {
		t.Errorf("an owner's own lease doesn't go before old ones:\n%s", got)
	}
	s := mustOpen(t, dir)
	r, ok, err := s.Lookup(Owner{ContainerID: "c1", IfName: "eth7"})
	if !ok || err != nil || fmt.Sprint(r.Addrs) != "[10.1.0.3 10.1.0.4]" || r.Owner.IfName != "" {
		t.Errorf("Lookup gave %+v, %v, %v", r, ok, err)
	}
	s.Close()
	release(t, dir, owner("c1"))
	if got := contents(t, dir); strings.Contains(got, "c1") {
		t.Errorf("left: %s", got)
	}
	check(t, dir)
}

func TestHugeAndTinyRanges(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "2001:db8::/64 2001:db8:1::/126 10.0.0.0/8")
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set}, "2001:db8::2 2001:db8:1::2 10.0.0.2")
	mustReserve(t, dir, Request{Owner: owner("c2"), Sets: set, Want: addrs("2001:db8::ffff:ffff:ffff:ffff")}, "2001:db8::ffff:ffff:ffff:ffff 2001:db8:1::3 10.0.0.3")
	_, err := reserve(t, dir, Request{Owner: owner("c3"), Sets: set})
	if e, ok := as[*ExhaustedError](err); !ok || e.Set != 1 {
		t.Errorf("got %v", err)
	}
	// The failure has moved the first set's hint on, as host-local's does.
	mustReserve(t, dir, Request{Owner: owner("c3"), Sets: set[:1]}, "2001:db8::4")
	// A long run of taken addresses, also over a block's border, is jumped.
	for i := range 40 {
		write(t, dir, at(netip.MustParseAddr("10.0.127.224"), 0x7fe0+i%32).String(), "x\r\neth0")
		write(t, dir, netip.AddrFrom4([4]byte{10, 0, 128, byte(i)}).String(), "x\r\neth0")
	}
	write(t, dir, "last_reserved_ip.0", "10.0.127.223")
	mustReserve(t, dir, Request{Owner: owner("c4"), Sets: sets(t, "10.0.0.0/8")}, "10.0.128.40")
	check(t, dir)
	mustReserve(t, dir, Request{Owner: owner("c5"), Sets: sets(t, "10.0.0.0/8")}, "10.0.128.41")
	check(t, dir)
}

// TestNearlyFullAgainstBruteForce gives and takes at random in a full range, with the bitmap kept,
// and compares each choice with the walk's.
func TestNearlyFullAgainstBruteForce(t *testing.T) {
	nstest.FileTimes(t)
	dir := t.TempDir()
	set, err := CanonicalSets([]RangeSet{{parseRange(t, "10.0.0.0/16 10.0.127.200 10.0.128.60 10.0.128.7"), parseRange(t, "10.1.0.0/27")}})
	if err != nil {
		t.Fatal(err)
	}
	held := make(map[netip.Addr]Owner)
	last := netip.Addr{}
	rng := seeded(t)
	for i := range 600 {
		want := netip.Addr{}
		w := newWalk(set[0], last)
		for a, _, ok := w.next(); ok && !want.IsValid(); a, _, ok = w.next() {
			if _, taken := held[a]; !taken {
				want = a
			}
		}
		if want.IsValid() && (i < 150 || rng.IntN(2) == 0) {
			o := owner(fmt.Sprint("c", i))
			mustReserve(t, dir, Request{Owner: o, Sets: set}, want.String())
			held[want], last = o, want
			continue
		}
		for a, o := range held { // any one
			release(t, dir, o)
			delete(held, a)
			break
		}
		if i%20 == 0 {
			check(t, dir)
		}
	}
	s := mustOpen(t, dir)
	if s.look(); s.flags&flagTaken == 0 {
		t.Error("the bitmap isn't kept, so this proves nothing")
	}
}

// A reservation that a first set refuses closes nothing of the program's, such as its standard
// input: descriptor 0.
func TestRefusalClosesNothing(t *testing.T) {
	dir := t.TempDir()
	req := Request{Owner: owner("c1"), Sets: sets(t, "10.8.0.0/30 10.9.0.0/24 10.10.0.0/24")}
	mustReserve(t, dir, req, "10.8.0.2 10.9.0.2 10.10.0.2")
	var before unix.Stat_t
	if err := unix.Fstat(0, &before); err != nil {
		t.Fatal("no standard input:", err)
	}
	for _, id := range []string{"c1", "c2"} { // it has addresses, and no address is left
		req.Owner = owner(id)
		if got, err := reserve(t, dir, req); err == nil {
			t.Fatal("reserved", got)
		}
		var after unix.Stat_t
		if err := unix.Fstat(0, &after); err != nil || after.Ino != before.Ino || after.Dev != before.Dev {
			t.Fatalf("after the refusal of %s the standard input is another file, or none: %v", id, err)
		}
	}
}
