// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// advertise sends a router advertisement (RFC 4861, section 4.2) to all that listen at eth0: this
// is a router, for half an hour.
func (w *world) advertise(router string) error {
	return w.do(router, func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255); err != nil {
			return err
		}
		if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, "eth0"); err != nil {
			return err
		}
		// Type, code, checksum (the kernel's), hop limit, flags, lifetime in seconds, two timers.
		message := []byte{134, 0, 0, 0, 64, 0, 1800 >> 8, 1800 & 255, 0, 0, 0, 0, 0, 0, 0, 0}
		return unix.Sendto(fd, message, 0, &unix.SockaddrInet6{Addr: netip.MustParseAddr("ff02::1").As16()})
	})
}

// An ADD that turns forwarding on leaves the host the default route that a router advertises, and
// goes on hearing it. Links without such a route stay as they are.
func TestAdvertisedDefaultRouteStays(t *testing.T) {
	for name, conf := range map[string]string{
		"bridge": strings.Replace(dualStack, "DATA", `{"subnet":"fd00:9::/64"}`, 1),
		"ptp":    strings.Replace(strings.Replace(dualStack, "DATA", `{"subnet":"fd00:9::/64"}`, 1), `"bridge","bridge":"br0","isGateway":true`, `"ptp"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			w := newAnswering(t)
			w.must("", "ip", "link", "add", "other", "type", "bridge")
			defaults := func() string { return w.must("", "ip", "-6", "route", "show", "default") }
			if err := w.advertise("out"); err != nil {
				t.Fatal(err)
			}
			w.must("", "timeout", "60", "sh", "-c", "until ip -6 route show default | grep -q 'proto ra'; do sleep 0.05; done")
			setting := func(link string) string {
				return strings.TrimSpace(w.must("", "cat", "/proc/sys/net/ipv6/conf/"+link+"/accept_ra"))
			}
			if got := setting("uplink"); got != "1" {
				t.Fatalf("accept_ra is %s: the test proves nothing", got)
			}
			w.add("c1", conf)
			if got := strings.TrimSpace(w.must("", "cat", "/proc/sys/net/ipv6/conf/all/forwarding")); got != "1" {
				t.Errorf("forwarding is %s", got)
			}
			if got := defaults(); !strings.Contains(got, "proto ra") {
				t.Errorf("the host's default route is gone: %q", got)
			}
			if up, other := setting("uplink"), setting("other"); up != "2" || other != "1" {
				t.Errorf("accept_ra is %s, and %s of a link that nobody advertises at", up, other)
			}
			w.must("", "ip", "-6", "route", "flush", "default")
			if err := w.advertise("out"); err != nil {
				t.Fatal(err)
			}
			w.must("", "timeout", "60", "sh", "-c", "until ip -6 route show default | grep -q 'proto ra'; do sleep 0.05; done")
			w.del("c1", conf)
			w.must("", "ip", "link", "del", "other")
			w.end()
		})
	}
}
