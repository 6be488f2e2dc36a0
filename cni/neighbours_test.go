// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// advertisements hears what tells all of a container's neighbours of an IPv6 address (RFC 4861, section 4.4).
type advertisements int

func hearAdvertisements(t *testing.T, a Attachment) advertisements {
	t.Helper()
	var fd int
	nstest.In(t, a.NetNS, func() {
		var err error
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { unix.Close(fd) })
	return advertisements(fd)
}

// of counts those of an address since it was last asked.
func (l advertisements) of(addr netip.Addr) (n int) {
	const advertisement = 136
	message := make([]byte, 128)
	for {
		size, _, err := unix.Recvfrom(int(l), message, 0)
		if err != nil {
			return n
		}
		if size >= 24 && message[0] == advertisement && netip.AddrFrom16([16]byte(message[8:])) == addr {
			n++
		}
	}
}

const small6 = `"isGateway": true, "ipam": {"type": "host-local", "dataDir": "DIR",
	"ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64", "rangeEnd": "fd00:9::4"}]]}`

// An IPv6 address is announced once it may have come with another MAC, and no sooner: each announcement goes to each port of
// the bridge. The host is told in any case, and forgets when the container goes.
func TestNeighboursOfIPv6(t *testing.T) {
	n := network(t, small6)
	watcher := attachment(t, "watcher")
	if _, err := Attach(context.Background(), n, watcher); err != nil {
		t.Fatal(err)
	}
	ears := hearAdvertisements(t, watcher)
	for i, id := range []string{"c1", "c2", "c3", "c4"} {
		a := attachment(t, id)
		res, err := Attach(context.Background(), n, a)
		if err != nil {
			t.Fatal(err)
		}
		addr, mac := res.IPs[1].Address.Addr(), res.Interfaces[2].MAC
		want := 0
		if i >= 2 {
			want = 1 // the range of three has come round
		}
		if got := ears.of(addr); got != want {
			t.Errorf("%s: %d announcements of %s, want %d", id, got, addr, want)
		}
		if got := nstest.Run(t, "", "ip", "neigh", "show", addr.String(), "dev", n.conf.Bridge.Name); !strings.Contains(got, mac) {
			t.Errorf("%s: the host knows %s by %q, want %s", id, addr, got, mac)
		}
		if got := nstest.Run(t, a.NetNS, "cat", "/proc/sys/net/ipv6/conf/eth0/ndisc_notify"); strings.TrimSpace(got) != "1" {
			t.Errorf("%s: ndisc_notify is %s", id, got)
		}
		// The host hears of a MAC that's changed later, as by tuning.
		other := "02:00:00:00:00:7" + string(rune('0'+i))
		nstest.Run(t, a.NetNS, "ip", "link", "set", "eth0", "address", other)
		if got := nstest.Run(t, "", "ip", "neigh", "show", addr.String(), "dev", n.conf.Bridge.Name); !strings.Contains(got, other) {
			t.Errorf("%s: the host knows %s by %q, want %s", id, addr, got, other)
		}
		ears.of(addr)
		if err := Detach(context.Background(), n, a); err != nil {
			t.Fatal(err)
		}
		if got := nstest.Run(t, "", "ip", "neigh", "show", addr.String(), "dev", n.conf.Bridge.Name); strings.Contains(got, "lladdr") {
			t.Errorf("%s: after DEL the host knows %s by %q", id, addr, got)
		}
	}
	if err := Detach(context.Background(), n, watcher); err != nil {
		t.Fatal(err)
	}
}

// So are many attachments at once.
func TestNeighboursOfAll(t *testing.T) {
	n := network(t, small6)
	var list []Attachment
	for _, id := range []string{"c1", "c2", "c3"} {
		list = append(list, attachment(t, id))
	}
	for i, o := range AttachAll(context.Background(), n, list) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		addr, mac := o.Result.IPs[1].Address.Addr(), o.Result.Interfaces[2].MAC
		if got := nstest.Run(t, "", "ip", "neigh", "show", addr.String(), "dev", n.conf.Bridge.Name); !strings.Contains(got, mac) {
			t.Errorf("%d: the host knows %s by %q, want %s", i, addr, got, mac)
		}
		if err := Detach(context.Background(), n, list[i]); err != nil {
			t.Fatal(err)
		}
	}
}
