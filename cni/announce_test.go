// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// neighbour is the MAC by which a container knows an address; asking makes it know it, as soon as it's answered.
func neighbour(t *testing.T, a Attachment, addr netip.Addr, ask bool) string {
	t.Helper()
	if ask {
		// Whether anybody listens doesn't matter: the address must be found first.
		nstest.In(t, a.NetNS, func() {
			conn, err := net.Dial("udp4", netip.AddrPortFrom(addr, 9).String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
		})
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		out := nstest.Run(t, a.NetNS, "ip", "neigh", "show", addr.String())
		if _, after, ok := strings.Cut(out, "lladdr "); ok {
			return strings.Fields(after)[0]
		}
		if !ask || time.Now().After(deadline) {
			return ""
		}
	}
}

// A new owner of an address is announced if an earlier one had another MAC, and only then: an announcement goes to each
// port of the bridge.
func TestAnnouncement(t *testing.T) {
	n := network(t, masqueraded)
	attach := func(id, mac string) (Attachment, *Result) {
		t.Helper()
		a := attachment(t, id)
		a.MAC, _ = net.ParseMAC(mac)
		if id != "watcher" {
			a.Addrs = []netip.Addr{netip.MustParseAddr("10.9.0.77")}
		}
		res, err := Attach(context.Background(), n, a)
		if err != nil {
			t.Fatal(err)
		}
		return a, res
	}
	detach := func(a Attachment) {
		t.Helper()
		if err := Detach(context.Background(), n, a); err != nil {
			t.Fatal(err)
		}
	}
	watcher, _ := attach("watcher", "")
	defer detach(watcher)
	ears := listen(t, watcher)
	addr := netip.MustParseAddr("10.9.0.77")
	derived := net.HardwareAddr(append([]byte{0x0a, 0x58}, addr.AsSlice()...)).String()

	first, res := attach("first", "")
	if got := res.Interfaces[2].MAC; got != derived {
		t.Fatalf("MAC %s, want %s", got, derived)
	}
	if got := strings.TrimSpace(nstest.Run(t, first.NetNS, "cat", "/proc/sys/net/ipv4/conf/eth0/arp_notify")); got != "1" {
		t.Errorf("arp_notify is %s", got)
	}
	if heard := ears.broadcasts(); heard != 0 {
		t.Errorf("the watcher heard %d announcements of an address that always has one MAC", heard)
	}
	if got := neighbour(t, watcher, addr, true); got != derived {
		t.Fatalf("the watcher knows %s by %q, want %s", addr, got, derived)
	}
	detach(first)

	other := "02:00:00:00:00:99"
	second, _ := attach("second", other)
	if got := neighbour(t, watcher, addr, false); got != other {
		t.Errorf("after an attachment with a MAC of its own the watcher knows %s by %q, want %s", addr, got, other)
	}
	detach(second)
	third, _ := attach("third", "")
	defer detach(third)
	if got := neighbour(t, watcher, addr, false); got != derived {
		t.Errorf("after the next one the watcher knows %s by %q, want %s", addr, got, derived)
	}
}

// listener hears the ARP frames (ETH_P_ARP) that a container gets.
type listener int

func listen(t *testing.T, a Attachment) listener {
	t.Helper()
	var fd int
	nstest.In(t, a.NetNS, func() {
		var err error
		arp := uint16(unix.ETH_P_ARP)
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(arp>>8|arp<<8)); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { unix.Close(fd) })
	return listener(fd)
}

// broadcasts counts the frames to everybody since it was last asked.
func (l listener) broadcasts() (n int) {
	frame := make([]byte, 128)
	for {
		size, _, err := unix.Recvfrom(int(l), frame, 0)
		if err != nil {
			return n
		}
		if size >= 6 && string(frame[:6]) == "\xff\xff\xff\xff\xff\xff" {
			n++
		}
	}
}

// Leases of other programs, whose MACs nobody knows, make the next owners announce themselves too, until the next boot.
func TestAnnouncementBesideOthers(t *testing.T) {
	n := network(t, masqueraded)
	dir := filepath.Join(n.conf.IPAM.DataDir, n.conf.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"10.9.0.2": "other\r\neth0", "last_reserved_ip.0": "10.9.0.2"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var ears listener
	for i, id := range []string{"watcher", "next", "another"} {
		a := attachment(t, id)
		if _, err := Attach(context.Background(), n, a); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = Detach(context.Background(), n, a) })
		if i == 0 {
			ears = listen(t, a)
		} else if got := ears.broadcasts(); got != 1 {
			t.Errorf("%s: %d announcements, want 1", id, got)
		}
	}
}
