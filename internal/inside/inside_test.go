// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// ways are the contexts that choose between the ways of [Socket].
func ways(t *testing.T) map[string]context.Context {
	return map[string]context.Context{"shared": t.Context(), "alone": context.WithValue(t.Context(), Alone{}, true)}
}

func TestSocketIsInsideAndTheThreadIsBack(t *testing.T) {
	for name, ctx := range ways(t) {
		t.Run(name, func(t *testing.T) { socketIsInside(ctx, t) })
	}
}

func socketIsInside(ctx context.Context, t *testing.T) {
	path := nstest.New(t, "c1")
	nstest.Run(t, path, "ip", "link", "add", "in0", "type", "veth", "peer", "name", "in1")
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	before, _ := os.Readlink(OwnPath)
	writes := []Write{
		{Path: "/proc/sys/net/ipv4/conf/in0/arp_notify", Value: "1"},
		{Path: "/proc/sys/net/ipv4/conf/nothing/arp_notify", Value: "1"},
		{Path: "/proc/sys/net/ipv4/conf/in0/forwarding", Value: "nonsense"},
		{Path: "/proc/sys/net/ipv4/conf/in1/arp_notify", Value: "1"},
	}
	fd, err := Socket(ctx, ns, unix.NETLINK_ROUTE, writes)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if after, _ := os.Readlink(OwnPath); after != before {
		t.Errorf("the thread was in %s and is in %s", before, after)
	}
	if writes[0].Err != nil || writes[3].Err != nil || !errors.Is(writes[1].Err, fs.ErrNotExist) || !errors.Is(writes[2].Err, unix.EINVAL) {
		t.Errorf("%v", writes)
	}
	for _, link := range []string{"in0", "in1"} {
		if got := nstest.Run(t, path, "cat", "/proc/sys/net/ipv4/conf/"+link+"/arp_notify"); strings.TrimSpace(got) != "1" {
			t.Errorf("%s: arp_notify %q", link, got)
		}
	}
	// The socket finds the link that only the namespace has; this one hasn't.
	var r [40]byte
	copy(r[:], "in0")
	if err := ifIndex(fd, &r); err != nil {
		t.Error("the socket isn't inside:", err)
	}
	out, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(out)
	copy(r[:], "in0")
	if err := ifIndex(out, &r); err == nil {
		t.Error("the link is here too: the test proves nothing")
	}
}

// A file that's opened inside is written later, from outside, or never.
func TestLater(t *testing.T) {
	for name, ctx := range ways(t) {
		t.Run(name, func(t *testing.T) { later(ctx, t) })
	}
}

func later(ctx context.Context, t *testing.T) {
	path := nstest.New(t, "c1")
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	const file = "/proc/sys/net/ipv6/conf/lo/ndisc_notify"
	value := func() string { return strings.TrimSpace(nstest.Run(t, path, "cat", file)) }
	for _, finish := range []bool{false, true} {
		writes := []Write{{Path: file, Value: "1", Later: true}, {Path: "/proc/sys/net/nothing", Later: true}}
		fd, err := Socket(ctx, ns, unix.NETLINK_ROUTE, writes)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		if writes[0].Err != nil || !errors.Is(writes[1].Err, fs.ErrNotExist) || value() != "0" {
			t.Errorf("%v, and the file holds %s already", writes, value())
		}
		want := "0"
		if finish {
			want = "1"
			for i := range writes {
				if err := writes[i].Finish(); err != nil {
					t.Error(err)
				}
			}
		}
		for i := range writes {
			writes[i].Drop()
		}
		if got := value(); got != want {
			t.Errorf("finished %v: the file holds %s, want %s", finish, got, want)
		}
	}
}

func TestNoNamespaceTouchesNothing(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, ns := range []int{-1, int(f.Fd())} {
		for name, ctx := range ways(t) {
			writes := []Write{{Path: f.Name(), Value: "written"}}
			if fd, err := Socket(ctx, ns, unix.NETLINK_ROUTE, writes); err == nil {
				unix.Close(fd)
				t.Errorf("%s: descriptor %d was entered", name, ns)
			}
		}
	}
	if text, _ := os.ReadFile(f.Name()); len(text) != 0 {
		t.Errorf("written outside: %q", text)
	}
}

func TestManyAtOnce(t *testing.T) {
	path := nstest.New(t, "c1")
	ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	before, _ := os.Readlink(OwnPath)
	done := make(chan error)
	for range 8 {
		go func() {
			for range 200 {
				fd, err := Socket(t.Context(), ns, unix.NETLINK_ROUTE, nil)
				if err != nil {
					done <- err
					return
				}
				unix.Close(fd)
				if now, _ := os.Readlink(OwnPath); now != before {
					done <- errors.New("a thread stayed in " + now)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
