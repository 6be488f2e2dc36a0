// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

const testBoot = "5ad1d4ee-4b2c-4b5f-9d2c-0d5f7f1f6c01"

// sets makes canonical range sets: "10.0.0.0/29,10.1.0.0/29 2001:db8::/126" is two sets, the first
// of two ranges.
func sets(t testing.TB, text string) []RangeSet {
	t.Helper()
	var all []RangeSet
	for set := range strings.FieldsSeq(text) {
		var s RangeSet
		for subnet := range strings.SplitSeq(set, ",") {
			s = append(s, Range{Subnet: netip.MustParsePrefix(subnet)})
		}
		all = append(all, s)
	}
	all, err := CanonicalSets(all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(context.Background(), dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func owner(id string) Owner { return Owner{ContainerID: id, IfName: "eth0"} }

// reserve asks a store of its own and returns the addresses, joined.
func reserve(t testing.TB, dir string, req Request) (string, error) {
	t.Helper()
	s := mustOpen(t, dir)
	defer s.Close()
	leases, err := s.Reserve(req)
	var text []string
	for _, l := range leases {
		text = append(text, l.Prefix.Addr().String())
	}
	if err == nil != (len(leases) == len(req.Sets)) {
		t.Fatalf("Reserve gave %v and %v", leases, err)
	}
	return strings.Join(text, " "), err
}

func mustReserve(t testing.TB, dir string, req Request, want string) {
	t.Helper()
	if got, err := reserve(t, dir, req); err != nil || got != want {
		t.Fatalf("Reserve for %v gave %q, %v; want %q", req.Owner, got, err, want)
	}
}

func release(t testing.TB, dir string, o Owner) {
	t.Helper()
	s := mustOpen(t, dir)
	defer s.Close()
	if err := s.Release(o); err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, dir string) {
	t.Helper()
	s := mustOpen(t, dir)
	defer s.Close()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
}

// contents is the network's directory as text: name, mode and content of each file.
func contents(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(filepath.Join(dir, "net"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "net", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.Name() + " " + info.Mode().String() + " " + strings.ReplaceAll(string(text), "\r\n", "|") + "\n")
	}
	return b.String()
}

// marked reports whether the next operation will trust the sidecar.
func marked(t testing.TB, dir string) bool {
	t.Helper()
	s := mustOpen(t, dir)
	defer s.Close()
	if err := s.look(); err != nil {
		t.Fatal(err)
	}
	return s.marked
}

func TestReserveAndRelease(t *testing.T) {
	nstest.FileTimes(t)
	dir := t.TempDir()
	two := sets(t, "10.1.0.0/24 2001:db8::/64")
	req := Request{Owner: owner("c1"), Sets: two, Record: Record{Boot: testBoot, NetNS: 4026531840, Link: "veth1", Index: 7, MAC: net.HardwareAddr{2, 0, 0, 0, 0, 0xab}}}
	mustReserve(t, dir, req, "10.1.0.2 2001:db8::2")
	want := `10.1.0.2 -rw------- c1|eth0
2001:db8::2 -rw------- c1|eth0
last_reserved_ip.0 -rw------- 10.1.0.2
last_reserved_ip.1 -rw------- 2001:db8::2
lock -rwxr-x--- 
`
	if got := contents(t, dir); got != want {
		t.Errorf("the directory holds\n%swant\n%s", got, want)
	}
	if !marked(t, dir) {
		t.Error("a reservation left no mark")
	}
	check(t, dir)
	s := mustOpen(t, dir)
	r, ok, err := s.Lookup(req.Owner)
	if err != nil || !ok || r.Link != "veth1" || r.Index != 7 || r.NetNS != 4026531840 || r.MAC.String() != "02:00:00:00:00:ab" || r.Boot != testBoot || len(r.Addrs) != 2 {
		t.Errorf("Lookup gave %+v, %v, %v", r, ok, err)
	}
	s.Close()
	if _, err := reserve(t, dir, req); !errors.Is(err, fs.ErrExist) || err.Error() != "failed to allocate for range 0: 10.1.0.2 has been allocated to c1, duplicate allocation is not allowed" {
		t.Errorf("a second ADD gave %v", err)
	}
	mustReserve(t, dir, Request{Owner: owner("c2"), Sets: two}, "10.1.0.3 2001:db8::3")
	release(t, dir, req.Owner)
	release(t, dir, req.Owner)
	release(t, dir, owner("c2"))
	want = "last_reserved_ip.0 -rw------- 10.1.0.3\nlast_reserved_ip.1 -rw------- 2001:db8::3\nlock -rwxr-x--- \n"
	if got := contents(t, dir); got != want {
		t.Errorf("after the releases the directory holds\n%swant\n%s", got, want)
	}
	check(t, dir)
}
