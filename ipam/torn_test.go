// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// tear overwrites a lease in place, which leaves the directory's mark as a power cut may.
func tear(t *testing.T, dir, addr, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "net", addr), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// remains are all that a power cut may leave of a lease.
func remains(content string) (all []string) {
	for n := range len(content) {
		all = append(all, content[:n], content[:n]+strings.Repeat("\x00", len(content)-n))
	}
	return all
}

// TestTornLease shortens a lease to each length, as its writer's boot ends. It's its owner's all
// the same: for a release, for a second ADD, and for the first reservation after the boot, which
// ends it.
func TestTornLease(t *testing.T) {
	nstest.FileTimes(t)
	set := sets(t, "10.1.0.0/24")
	first := Request{Owner: owner("c1"), Sets: set, Record: evidence, Alive: everybody}
	for _, text := range remains(owner("c1").content()) {
		dir := t.TempDir()
		mustReserve(t, dir, first, "10.1.0.2")
		tear(t, dir, "10.1.0.2", text)
		if _, err := reserve(t, dir, first); err == nil {
			t.Errorf("%q: a second lease was given", text)
		}
		reboot := Request{Owner: owner("c2"), Sets: set, Record: evidence, Alive: nobody}
		reboot.Record.Boot = "the-next-boot"
		mustReserve(t, dir, reboot, "10.1.0.3")
		if got := contents(t, dir); strings.Contains(got, "10.1.0.2 ") {
			t.Errorf("%q outlived a boot:\n%s", text, got)
		}
		check(t, dir)
		tear(t, dir, "10.1.0.3", strings.Replace(text, "c1", "c2", 1))
		release(t, dir, owner("c2"))
		if got := contents(t, dir); strings.Contains(got, "10.1.0.3 ") {
			t.Errorf("%q outlived a release:\n%s", text, got)
		}
		check(t, dir)
	}
}

// TestTornLeaseIsCompleted lets a rebuild meet torn leases whose owner lives.
func TestTornLeaseIsCompleted(t *testing.T) {
	nstest.FileTimes(t)
	set := sets(t, "10.1.0.0/24 2001:db8::/64")
	for _, text := range remains(owner("c1").content()) {
		dir := t.TempDir()
		mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}, "10.1.0.2 2001:db8::2")
		before := contents(t, dir)
		tear(t, dir, "10.1.0.2", text) // the other is a link to the same file
		reboot := Request{Owner: owner("c2"), Sets: set, Record: evidence, Alive: everybody}
		reboot.Record.Boot = "the-next-boot"
		mustReserve(t, dir, reboot, "10.1.0.3 2001:db8::3")
		release(t, dir, owner("c2"))
		if got := strings.ReplaceAll(contents(t, dir), "::3", "::2"); got != strings.ReplaceAll(before, ".0 -rw------- 10.1.0.2", ".0 -rw------- 10.1.0.3") {
			t.Errorf("%q became\n%s", text, got)
		}
		check(t, dir)
	}
}

// TestWholeLeaseIsNotTorn has leases that read like the beginning of what another owner's would
// hold, whose record names them, as after a crash before the lease was made. They stay their
// owner's.
func TestWholeLeaseIsNotTorn(t *testing.T) {
	set := sets(t, "10.1.0.0/24")
	long := Owner{ContainerID: "c1", IfName: "eth01"}
	promise := func(dir string) {
		s := mustOpen(t, dir)
		defer s.Close()
		r := evidence
		r.Owner, r.Addrs = long, []netip.Addr{netip.MustParseAddr("10.1.0.2")}
		if err := s.writeRecord(&r, false); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}, "10.1.0.2")
	promise(dir)
	release(t, dir, long)
	if got := contents(t, dir); !strings.Contains(got, "10.1.0.2 -rw------- c1|eth0\n") {
		t.Errorf("ours went:\n%s", got)
	}
	check(t, dir)

	dir = t.TempDir()
	mustReserve(t, dir, Request{Owner: owner("other"), Sets: set, Record: evidence}, "10.1.0.2")
	release(t, dir, owner("other"))
	promise(dir)
	write(t, dir, "10.1.0.2", "c1\r\neth0") // by host-local
	release(t, dir, long)
	if got := contents(t, dir); !strings.Contains(got, "10.1.0.2 -rw------- c1|eth0\n") {
		t.Errorf("host-local's went:\n%s", got)
	}
	check(t, dir)
}

// TestOldLeaseWithoutRecord keeps host-local's meaning where no record says otherwise.
func TestOldLeaseWithoutRecord(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/24")
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}, "10.1.0.2")
	for _, text := range []string{"c1\r\n", "c1"} {
		write(t, dir, "10.1.0.9", text)
		mustReserve(t, dir, Request{Owner: owner("c2"), Sets: set, Record: evidence}, map[string]string{"c1\r\n": "10.1.0.3", "c1": "10.1.0.4"}[text])
		release(t, dir, owner("c2"))
		if got := contents(t, dir); !strings.Contains(got, "10.1.0.9 ") || !strings.Contains(got, "10.1.0.2 -rw------- c1|eth0") {
			t.Errorf("%q: left\n%s", text, got)
		}
		check(t, dir)
	}
}
