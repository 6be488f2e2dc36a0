// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// serviceIP is a Service's address that leads to c1's port 60, as kube-proxy's rules do it.
const serviceIP = "10.96.0.10"

// kubeProxy are the rules of kube-proxy's modes, for a Service with a port that's c1's host port, and one with another.
var kubeProxy = map[string]string{
	"iptables-nft": iptablesService, "iptables-legacy": iptablesService,
	"nft": `add table ip kube-proxy
add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
add chain ip kube-proxy mark-for-masquerade
add rule ip kube-proxy mark-for-masquerade meta mark set meta mark | 0x4000
add chain ip kube-proxy service
add chain ip kube-proxy endpoint
add rule ip kube-proxy endpoint ip saddr 10.9.0.2 jump mark-for-masquerade
add rule ip kube-proxy endpoint meta l4proto udp dnat to 10.9.0.2:60
add rule ip kube-proxy service goto endpoint
add element ip kube-proxy service-ips { 10.96.0.10 . udp . 6060 : goto service, 10.96.0.10 . udp . 7070 : goto service }
add chain ip kube-proxy nat-prerouting { type nat hook prerouting priority dstnat; }
add rule ip kube-proxy nat-prerouting ip daddr . meta l4proto . th dport vmap @service-ips
add chain ip kube-proxy nat-output { type nat hook output priority -100; }
add rule ip kube-proxy nat-output ip daddr . meta l4proto . th dport vmap @service-ips
add chain ip kube-proxy nat-postrouting { type nat hook postrouting priority srcnat; }
add rule ip kube-proxy nat-postrouting meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random`,
}

const iptablesService = `-t nat -N KUBE-MARK-MASQ
-t nat -A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-t nat -N KUBE-SEP-1
-t nat -A KUBE-SEP-1 -s 10.9.0.2/32 -j KUBE-MARK-MASQ
-t nat -A KUBE-SEP-1 -p udp -m udp -j DNAT --to-destination 10.9.0.2:60
-t nat -N KUBE-SVC-1
-t nat -A KUBE-SVC-1 -j KUBE-SEP-1
-t nat -N KUBE-SERVICES
-t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 6060 -j KUBE-SVC-1
-t nat -A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 7070 -j KUBE-SVC-1
-t nat -A PREROUTING -j KUBE-SERVICES
-t nat -A OUTPUT -j KUBE-SERVICES
-t nat -N KUBE-POSTROUTING
-t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-t nat -A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-t nat -A KUBE-POSTROUTING -j MASQUERADE --random-fully
-t nat -A POSTROUTING -j KUBE-POSTROUTING`

// A Service's client keeps its address, though the endpoint has a host port, and though that has the Service's number: only what
// came by our own mapping is masqueraded. It makes no difference whose chains are first.
func TestServicesClientKeepsItsAddress(t *testing.T) {
	nstest.Full(t, "it takes long")
	for mode, rules := range kubeProxy {
		for _, keys := range []string{``, `"masqAll":true`, `"markMasqBit":20`, `"conditionsV4":["!","-s","192.0.2.0/24"]`} {
			for _, late := range []bool{false, true} {
				t.Run(strings.Join([]string{mode, keys, pickText(late, "before", "after")}, " "), func(t *testing.T) {
					w := newPortWorld(t)
					if !late {
						runLines(t, mode, rules)
					}
					w.add(t, "c1", keys, `{"hostPort":6060,"containerPort":60,"protocol":"udp"}`)
					if late {
						runLines(t, mode, rules)
					}
					seen := sourceSeen(t, w.containers["c1"].NetNS)
					c2 := w.containers["c2"].NetNS
					for _, x := range []struct{ from, to, want string }{
						{c2, serviceIP + ":6060", "10.9.0.3"},
						{c2, serviceIP + ":7070", "10.9.0.3"},
						{c2, hostOutside4 + ":6060", "10.9.0.1"},
						{w.containers["c1"].NetNS, "10.9.0.1:6060", "10.9.0.1"},
						{w.containers["c1"].NetNS, serviceIP + ":6060", "10.9.0.1"},
						{"", "127.0.0.1:6060", "10.9.0.1"},
						{w.outside, hostOutside4 + ":6060", pickText(strings.Contains(keys, "masqAll"), "10.9.0.1", "198.51.100.2")},
					} {
						if got := seen(x.from, x.to); got != x.want {
							t.Errorf("from %s to %s: the endpoint saw %q, want %q", x.from, x.to, got, x.want)
						}
					}
				})
			}
		}
	}
}

func pickText(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// runLines runs lines by a program of the host's rules, and ends what that leaves.
func runLines(t *testing.T, program, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		nstest.Run(t, "", program, strings.Fields(line)...)
	}
	if program == "iptables-legacy" {
		t.Cleanup(func() {
			nstest.Run(t, "", program, "-t", "nat", "-F")
			nstest.Run(t, "", program, "-t", "nat", "-X")
		})
	}
}

// sourceSeen listens at a container's port 60, and returns a function that sends datagrams until one comes, and says from whom.
func sourceSeen(t *testing.T, ns string) func(from, to string) string {
	t.Helper()
	var l *net.UDPConn
	var err error
	nstest.In(t, ns, func() { l, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 60}) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return func(from, to string) string {
		t.Helper()
		for range 8 {
			c, err := dialIn(t, from, "udp4", to)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Write([]byte("x"))
			_ = l.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			_, peer, err2 := l.ReadFromUDPAddrPort(make([]byte, 8))
			c.Close()
			if errors.Join(err, err2) == nil {
				return netip.AddrPortFrom(peer.Addr().Unmap(), 0).Addr().String()
			}
		}
		return ""
	}
}
