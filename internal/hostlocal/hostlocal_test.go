// SPDX-License-Identifier: Apache-2.0

package hostlocal

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/ipam"
)

// keys are those of a network whose leases are in a directory. more follows its ranges.
func keys(t *testing.T, dir, ipamKeys, more string) *Keys {
	t.Helper()
	n, err := netconf.Read([]byte(`{"cniVersion":"1.1.0","name":"net","type":"host-local",
		"ipam":{"type":"host-local","dataDir":"`+dir+`",`+ipamKeys+`}`+more+`}`), netconf.HostLocal, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Of(n)
}

const (
	subnet     = `"subnet":"10.1.2.0/24"`
	small      = `"subnet":"10.1.2.0/30"`
	twoSubnets = `"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00::/64"}]]`
)

func eth0(container string) spec.Attachment {
	return spec.Attachment{ContainerID: container, IfName: "eth0"}
}

// add leases, which must succeed.
func add(t *testing.T, k *Keys, a spec.Attachment) *spec.Result {
	t.Helper()
	res, err := k.Add(t.Context(), nil, a)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// leased lists the files of leases.
func leased(t *testing.T, dir string) (list []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "net", "*[.:]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := filepath.Base(f); !strings.HasPrefix(name, "last_reserved_ip") {
			list = append(list, name)
		}
	}
	return list
}

func TestAddAnswers(t *testing.T) {
	dir := t.TempDir()
	resolv := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 10.1.2.1\ndomain d\nsearch a b\noptions x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k := keys(t, dir, twoSubnets+`,"routes":[{"dst":"0.0.0.0/0"},{"dst":"fd01::/64","gw":"fd00::9"}],"resolvConf":"`+resolv+`"`, "")
	got := add(t, k, eth0("c1"))
	want := &spec.Result{
		CNIVersion: "1.1.0",
		IPs: []spec.IP{
			{Address: netip.MustParsePrefix("10.1.2.2/24"), Gateway: netip.MustParseAddr("10.1.2.1"), Interface: spec.NoInterface},
			{Address: netip.MustParsePrefix("fd00::2/64"), Gateway: netip.MustParseAddr("fd00::1"), Interface: spec.NoInterface},
		},
		Routes: []spec.Route{{Dst: netip.MustParsePrefix("0.0.0.0/0")},
			{Dst: netip.MustParsePrefix("fd01::/64"), Gateway: netip.MustParseAddr("fd00::9")}},
		DNS:    spec.DNS{Nameservers: []string{"10.1.2.1"}, Domain: "d", Search: []string{"a", "b"}, Options: []string{"x"}},
		OfIPAM: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := k.Check(t.Context(), nil, eth0("c1")); err != nil {
		t.Error("check:", err)
	}
}

// Requested addresses are runtimeConfig's, those of args and the attachment's own, each once.
func TestRequestedAddresses(t *testing.T) {
	k := keys(t, t.TempDir(), subnet, `,"runtimeConfig":{"ips":["10.1.2.30/24","fd00::30"]},"args":{"cni":{"ips":["10.1.2.20","10.1.2.30"]}}`)
	a := eth0("c1")
	a.Addrs = []netip.Addr{netip.MustParseAddr("::ffff:10.1.2.20"), netip.MustParseAddr("10.1.2.10")}
	var got []string
	for _, addr := range k.Wanted(a) {
		got = append(got, addr.String())
	}
	if want := []string{"10.1.2.30", "fd00::30", "10.1.2.20", "10.1.2.10"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An error has a code by its kind, and leaves no lease.
func TestAddFails(t *testing.T) {
	a, wanting := eth0("c1"), eth0("c2")
	wanting.Addrs = []netip.Addr{netip.MustParseAddr("10.1.2.2")}
	elsewhere := eth0("c3")
	elsewhere.Addrs = []netip.Addr{netip.MustParseAddr("10.9.9.9")}
	for name, tt := range map[string]struct {
		first string // keys of the network when c1 got its lease; empty means that it got none
		keys  string
		a     spec.Attachment
		code  uint
		want  string
	}{
		"twice":     {subnet, subnet, a, spec.CodeAttached, "10.1.2.2 has been allocated to c1, duplicate allocation is not allowed"},
		"another's": {subnet, subnet, wanting, spec.CodeAttached, "requested IP address 10.1.2.2 is not available in range set 10.1.2.1-10.1.2.254"},
		"full": {small, small, eth0("c2"), spec.CodeExhausted,
			"no IP addresses available in range set: 10.1.2.1-10.1.2.2"},
		"of no subnet": {subnet, subnet, elsewhere, spec.CodeInternal, "failed to allocate all requested IPs: 10.9.9.9"},
		"resolvConf isn't there": {subnet, subnet + `,"resolvConf":"/nowhere"`, eth0("c2"), spec.CodeInvalidNetwork,
			"open /nowhere: no such file or directory"},
		"a subnet of one address": {"", `"subnet":"10.1.2.0/32"`, eth0("c2"), spec.CodeInvalidNetwork, "too small to allocate from"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.first != "" {
				add(t, keys(t, dir, tt.first, ""), a)
			}
			before := leased(t, dir)
			_, err := keys(t, dir, tt.keys, "").Add(t.Context(), nil, tt.a)
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.Of(err).Code != tt.code {
				t.Errorf("got %v, want %q of code %d", err, tt.want, tt.code)
			}
			if after := leased(t, dir); !slices.Equal(after, before) {
				t.Errorf("leases were %v, are %v", before, after)
			}
		})
	}
}

// Wrong ranges end every verb but DEL, which releases by the owner's name.
func TestWrongRanges(t *testing.T) {
	dir := t.TempDir()
	add(t, keys(t, dir, subnet, ""), eth0("c1"))
	k := keys(t, dir, `"subnet":"10.1.2.0/31"`, "")
	for verb, call := range map[string]func() error{
		"ADD":     func() error { _, err := k.Add(t.Context(), nil, eth0("c2")); return err },
		"CHECK":   func() error { return k.Check(t.Context(), nil, eth0("c1")) },
		"GC":      func() error { return k.GC(t.Context(), nil, nil) },
		"reclaim": func() error { return k.Reclaim(t.Context(), nil) },
		"STATUS":  func() error { return k.Status(t.Context(), nil) },
	} {
		if err := call(); err != error(k.Wrong(spec.Attachment{})) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if got := leased(t, dir); !slices.Equal(got, []string{"10.1.2.2"}) {
		t.Errorf("leases are %v", got)
	}
	if err := k.Del(t.Context(), nil, eth0("c1")); err != nil || leased(t, dir) != nil {
		t.Errorf("del: %v, left %v", err, leased(t, dir))
	}
}

// Whoever never leased anything isn't missed, and makes no directory.
func TestNothingLeased(t *testing.T) {
	dir := t.TempDir()
	k := keys(t, dir, subnet, "")
	if err := k.Check(t.Context(), nil, eth0("c1")); fault.Of(err).Msg != "host-local: Failed to find address added by container c1" {
		t.Errorf("check: %v", err)
	}
	for verb, err := range map[string]error{
		"DEL":     k.Del(t.Context(), nil, eth0("c1")),
		"GC":      k.GC(t.Context(), nil, nil),
		"reclaim": k.Reclaim(t.Context(), nil),
		"STATUS":  k.Status(t.Context(), nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("made %v, %v", entries, err)
	}
	add(t, k, eth0("c1"))
	if err := k.Check(t.Context(), nil, eth0("c2")); fault.Of(err).Msg != "host-local: Failed to find address added by container c2" {
		t.Errorf("check of another container: %v", err)
	}
}

// GC ends the leases of attachments that aren't valid. Reclaim ends none, for want of evidence.
func TestGC(t *testing.T) {
	dir := t.TempDir()
	k := keys(t, dir, twoSubnets, "")
	eth1 := spec.Attachment{ContainerID: "c1", IfName: "eth1"}
	for _, a := range []spec.Attachment{eth0("c1"), eth1, eth0("c2")} {
		add(t, k, a)
	}
	if err := k.Reclaim(t.Context(), nil); err != nil || len(leased(t, dir)) != 6 {
		t.Errorf("reclaim: %v, left %v", err, leased(t, dir))
	}
	for _, step := range []struct {
		valid []spec.Attachment
		left  []string
	}{
		{[]spec.Attachment{eth1, eth0("c2"), eth0("c7")}, []string{"10.1.2.3", "10.1.2.4", "fd00::3", "fd00::4"}},
		{[]spec.Attachment{eth1}, []string{"10.1.2.3", "fd00::3"}},
		{nil, nil},
	} {
		if err := k.GC(t.Context(), nil, step.valid); err != nil {
			t.Error(err)
		}
		if got := leased(t, dir); !slices.Equal(got, step.left) {
			t.Errorf("of %v there's left %v, want %v", step.valid, got, step.left)
		}
	}
}

func TestStatus(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ dir, keys, msg, details string }{
		"good":                   {dir: dir, keys: subnet},
		"resolvConf isn't there": {dir, subnet + `,"resolvConf":"/nowhere"`, "the network's resolvConf can't be read", "open /nowhere: no such file or directory"},
		"resolvConf is too long": {dir, subnet + `,"resolvConf":"` + longLine(t) + `"`, "the network's resolvConf can't be read", "too long"},
		"a file for a directory": {filepath.Join(file, "leases"), subnet, "the lease store can't be used", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := keys(t, tt.dir, tt.keys, "").Status(t.Context(), nil)
			if tt.msg == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if e := fault.Of(err); err == nil || e.Code != spec.CodeUnavailable || e.Msg != tt.msg || !strings.Contains(e.Details, tt.details) {
				t.Errorf("got %v, want %q, %q", err, tt.msg, tt.details)
			}
		})
	}
}

// longLine is a resolv.conf that isn't read.
func longLine(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("search "+strings.Repeat("a ", 1<<16)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A copy can be leased from, whoever holds the network's lock, and the network never hears of it.
func TestCopyOfStore(t *testing.T) {
	dir := t.TempDir()
	k := keys(t, dir, subnet, "")
	add(t, k, eth0("c1"))
	store, err := ipam.Open(t.Context(), dir, "net")
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	copied, err := k.CopyStore()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(copied)
	of := keys(t, copied, subnet, "")
	if err := of.Check(t.Context(), nil, eth0("c1")); err != nil {
		t.Error("check of the copy:", err)
	}
	if got := add(t, of, eth0("c2")).IPs[0].Address.String(); got != "10.1.2.3/24" {
		t.Errorf("the copy gives %s", got)
	}
	if got := leased(t, dir); !slices.Equal(got, []string{"10.1.2.2"}) {
		t.Errorf("the network's leases are %v", got)
	}
}

// A network that never leased anything has an empty copy.
func TestCopyOfNothing(t *testing.T) {
	copied, err := keys(t, t.TempDir(), subnet, "").CopyStore()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(copied)
	if entries, err := os.ReadDir(copied); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// What can't be read leaves no copy.
func TestCopyFails(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "net"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if copied, err := keys(t, dir, subnet, "").CopyStore(); err == nil {
		t.Errorf("copied a file to %s", copied)
	}
	if entries, err := os.ReadDir(os.TempDir()); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// A lease that ends while the directory is copied isn't missed.
func TestCopyOfWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	for _, kind := range []fs.FileMode{0, fs.ModeSymlink} {
		if err := copyEntry(filepath.Join(dir, "gone"), filepath.Join(dir, "copy"), kind); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

// The store's errors stay what they are beneath their codes.
func TestErrorKeepsItsCause(t *testing.T) {
	for _, cause := range []error{&ipam.ExhaustedError{}, &ipam.DuplicateError{}, &ipam.TakenError{}, fs.ErrPermission} {
		if err := Error(&ipam.SetError{Err: cause}); !errors.Is(err, cause) {
			t.Errorf("%T is lost in %v", cause, err)
		}
	}
}
