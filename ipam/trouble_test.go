// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mountAt mounts a small tmpfs for one test.
func mountAt(t *testing.T, options string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "ipam")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Unmount(dir, unix.MNT_DETACH)
		os.Remove(dir)
	})
	return dir
}

// TestFullDisk fills a file system by reserving, which must fail cleanly, and empties it by
// releasing.
func TestFullDisk(t *testing.T) {
	for _, limit := range []string{"size=64k", "nr_inodes=40"} {
		dir := mountAt(t, limit)
		set := sets(t, "10.1.0.0/24 2001:db8::/64")
		n := 0
		for ; ; n++ {
			_, err := reserve(t, dir, Request{Owner: owner(fmt.Sprint("c", n)), Sets: set, Record: evidence})
			if err == nil {
				continue
			}
			if pe, ok := as[*fs.PathError](err); !ok || !errors.Is(err, unix.ENOSPC) || !strings.HasPrefix(pe.Path, dir) {
				t.Fatalf("%s: after %d: %v", limit, n, err)
			}
			break
		}
		if n < 4 {
			t.Errorf("%s: full after %d", limit, n)
		}
		if got := strings.Count(contents(t, dir), fmt.Sprint(" c", n, "|")); got != 0 {
			t.Errorf("%s: %d leases of a refused owner", limit, got)
		}
		check(t, dir)
		// A release works on a full disk also where the sidecar can't be mended.
		if err := os.Remove(filepath.Join(dir, "net/10.1.0.2")); err != nil {
			t.Fatal(err)
		}
		os.RemoveAll(filepath.Join(dir, sidecarDir))
		fill(t, dir)
		for i := range n {
			release(t, dir, owner(fmt.Sprint("c", i)))
		}
		if got := contents(t, dir); strings.Contains(got, "|") {
			t.Errorf("%s: left\n%s", limit, got)
		}
	}
}

// fill takes what's left of a file system.
func fill(t *testing.T, dir string) {
	t.Helper()
	for i := 0; ; i++ {
		err := os.WriteFile(filepath.Join(dir, fmt.Sprint("fill", i)), make([]byte, 4096), 0o600)
		if errors.Is(err, unix.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	dir := mountAt(t, "size=1m")
	set := sets(t, "10.1.0.0/24")
	for _, open := range []func(context.Context, string, string) (*Store, error){OpenExisting, OpenReadOnly} {
		if _, err := open(context.Background(), dir, "net"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a missing directory gave %v", err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("looking made %v", entries)
	}
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}, "10.1.0.2")
	write(t, dir, "10.1.0.3", "c2\r\neth0") // the mark goes, so nothing is known
	before := contents(t, dir)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	s, err := OpenReadOnly(context.Background(), dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	r, ok, err := s.Lookup(owner("c1"))
	if !ok || err != nil || r.Link != evidence.Link {
		t.Errorf("Lookup gave %+v, %v, %v", r, ok, err)
	}
	n := 0
	for r, err := range s.Records() {
		if err != nil || len(r.Addrs) != 1 {
			t.Errorf("Records gave %+v, %v", r, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d records", n)
	}
	if err := s.Release(owner("c1")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Release gave %v", err)
	}
	if _, err := s.Reserve(Request{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Reserve gave %v", err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	s.Close()
	if _, err := reserve(t, dir, Request{Owner: owner("c3"), Sets: set}); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Reserve gave %v", err)
	}
	if got := contents(t, dir); got != before {
		t.Errorf("changed to\n%s", got)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	set := sets(t, "10.1.0.0/24")
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("c1\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(name string) {
		if err := os.MkdirAll(dir+"/net", 0o755); err != nil {
			t.Fatal(err)
		}
		os.Remove(dir + "/net/" + name)
		if err := os.Symlink(victim, dir+"/net/"+name); err != nil {
			t.Fatal(err)
		}
	}
	link("10.1.0.2")
	if err := unix.Mkfifo(dir+"/net/10.1.0.3", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/net/10.1.0.4", 0o700); err != nil {
		t.Fatal(err)
	}
	mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set}, "10.1.0.5")
	release(t, dir, owner("c1"))
	link("last_reserved_ip.0")
	if _, err := reserve(t, dir, Request{Owner: owner("c1"), Sets: set}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link for a hint gave %v", err)
	}
	os.Remove(dir + "/net/last_reserved_ip.0")
	link("lock")
	if s, err := Open(context.Background(), dir, "net"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link for a lock gave %v", err)
		s.Close()
	}
	if got, _ := os.ReadFile(victim); string(got) != "c1\r\neth0" {
		t.Errorf("the victim holds %q", got)
	}
	if err := os.Rename(dir+"/net", dir+"/other"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("other", dir+"/net"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(context.Background(), dir, "net"); err == nil {
		t.Error("a link for a directory was followed")
	}
}

func TestNamesAreValidated(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"", ".", "..", ".swiftcni", "a/b", "a b", "ä", "a\x00", strings.Repeat("a", 256)} {
		if _, err := Open(context.Background(), dir, name); !errors.Is(err, ErrInvalid) {
			t.Errorf("network %q gave %v", name, err)
		}
	}
	s := mustOpen(t, dir)
	set := sets(t, "10.1.0.0/24")
	for _, o := range []Owner{{}, {ContainerID: "c1"}, {IfName: "eth0"}, owner("a\r\nb"), owner(" "), owner(strings.Repeat("a", 3000))} {
		if _, err := s.Reserve(Request{Owner: o, Sets: set}); !errors.Is(err, ErrInvalid) {
			t.Errorf("owner %q gave %v", o, err)
		}
	}
	for _, r := range []Record{{Boot: "../x"}, {Link: "a b"}, {Boot: "-"}, {MAC: net.HardwareAddr{1}}, {Index: -1}, {Boot: strings.Repeat("a", 65)}} {
		if _, err := s.Reserve(Request{Owner: owner("c1"), Sets: set, Record: r}); !errors.Is(err, ErrInvalid) {
			t.Errorf("evidence %+v gave %v", r, err)
		}
	}
	if _, err := s.Reserve(Request{Owner: owner("c1"), Sets: []RangeSet{{{}}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a range that isn't canonical gave %v", err)
	}
	if got := contents(t, dir); got != "lock -rwxr-x--- \n" {
		t.Errorf("made\n%s", got)
	}
}

// TestDamagedSidecar breaks the sidecar in each way and goes on.
func TestDamagedSidecar(t *testing.T) {
	set := sets(t, "10.1.0.0/24")
	record := func(dir string) string { return dir + "/.swiftcni/net/c1:eth0" }
	for name, damage := range map[string]func(dir string) error{
		"text": func(dir string) error {
			os.Remove(record(dir))
			return os.Symlink("garbage", record(dir))
		},
		"file": func(dir string) error {
			os.Remove(record(dir))
			return os.WriteFile(record(dir), []byte("x"), 0o600)
		},
		"gone":      func(dir string) error { return os.RemoveAll(dir + "/.swiftcni") },
		"directory": func(dir string) error { os.Remove(record(dir)); write(t, dir, "x", ""); return nil },
		"foreign": func(dir string) error {
			os.Remove(record(dir))
			return os.Symlink("1 10.1.0.3 - 0 - 0 -", record(dir))
		},
	} {
		for _, verb := range []string{"lookup", "release", "reserve"} {
			dir := t.TempDir()
			mustReserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}, "10.1.0.2")
			mustReserve(t, dir, Request{Owner: owner("c2"), Sets: set, Record: evidence}, "10.1.0.3")
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			s := mustOpen(t, dir)
			if verb == "lookup" && name != "foreign" {
				if r, ok, err := s.Lookup(owner("c1")); !ok || err != nil || r.Addrs[0].String() != "10.1.0.2" {
					t.Errorf("%s: Lookup gave %+v, %v, %v", name, r, ok, err)
				}
			}
			s.Close()
			if verb == "reserve" && name != "foreign" {
				if _, err := reserve(t, dir, Request{Owner: owner("c1"), Sets: set, Record: evidence}); !errors.Is(err, fs.ErrExist) {
					t.Errorf("%s: a second ADD gave %v", name, err)
				}
			}
			if verb == "release" {
				release(t, dir, owner("c1"))
				if got := contents(t, dir); strings.Contains(got, "c1") && name != "foreign" {
					t.Errorf("%s: left\n%s", name, got)
				}
			}
			if got := contents(t, dir); !strings.Contains(got, "10.1.0.3 -rw------- c2|eth0") {
				t.Errorf("%s, %s: a stranger's lease went:\n%s", name, verb, got)
			}
			if name != "foreign" {
				check(t, dir)
			}
		}
	}
}
