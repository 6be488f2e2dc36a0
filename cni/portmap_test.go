// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/conntrack"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/test/sctp"
	"github.com/swiftcni/swiftcni/nft"
	"golang.org/x/sys/unix"
)

const mapped = `{"hostPort":8080,"containerPort":80,"protocol":"TCP"},{"hostPort":8080,"containerPort":81,"protocol":"udp"},
	{"hostPort":9090,"containerPort":81,"protocol":"tcp","hostIP":"198.51.100.9"}`

func TestPortsReachTheContainer(t *testing.T) {
	w := newPortWorld(t)
	del := w.add(t, "c1", "", mapped)
	c1, c2 := w.containers["c1"].NetNS, w.containers["c2"].NetNS
	rows := []struct{ name, from, protocol, to, want string }{
		{"outside", w.outside, "tcp", hostOutside4 + ":8080", "c1:80"},
		{"outside by UDP", w.outside, "udp", hostOutside4 + ":8080", "c1:81"},
		{"outside by IPv6", w.outside, "tcp", "[" + hostOutside6 + "]:8080", "c1:80"},
		{"outside by UDP and IPv6", w.outside, "udp", "[" + hostOutside6 + "]:8080", "c1:81"},
		{"host", "", "tcp", hostOutside4 + ":8080", "c1:80"},
		{"host by the gateway", "", "tcp", "10.9.0.1:8080", "c1:80"},
		{"host by IPv6", "", "tcp", "[" + hostOutside6 + "]:8080", "c1:80"},
		{"localhost", "", "tcp", "127.0.0.1:8080", "c1:80"},
		{"localhost by UDP", "", "udp", "127.0.0.1:8080", "c1:81"},
		{"another loopback address", "", "tcp", "127.1.2.3:8080", "c1:80"},
		{"itself", c1, "tcp", hostOutside4 + ":8080", "c1:80"},
		{"itself by UDP", c1, "udp", "10.9.0.1:8080", "c1:81"},
		{"itself by IPv6", c1, "tcp", "[" + hostOutside6 + "]:8080", "c1:80"},
		{"sibling", c2, "tcp", hostOutside4 + ":8080", "c1:80"},
		{"sibling by the gateway", c2, "udp", "10.9.0.1:8080", "c1:81"},
		{"sibling by IPv6", c2, "udp", "[" + hostOutside6 + "]:8080", "c1:81"},
		{"host address", w.outside, "tcp", "198.51.100.9:9090", "c1:81"},
		{"another host address", w.outside, "tcp", hostOutside4 + ":9090", ""},
		{"another port", w.outside, "tcp", hostOutside4 + ":8081", ""},
		{"sibling's own port isn't taken", w.outside, "tcp", hostOutside4 + ":80", ""},
		{"sibling directly", c2, "tcp", "10.9.0.2:80", "c1:80"},
		{"the container's own port, not the host's", c1, "tcp", "10.9.0.3:80", "c2:80"},
	}
	for _, r := range rows {
		if got := portAnswer(t, r.from, r.protocol, r.to); got != r.want {
			t.Errorf("%s: %s %s: got %q, want %q", r.name, r.protocol, r.to, got, r.want)
		}
	}
	del()
	for _, r := range rows[:17] {
		if got := portAnswer(t, r.from, r.protocol, r.to); got != "" {
			t.Errorf("after DEL: %s: %s %s: got %q", r.name, r.protocol, r.to, got)
		}
	}
}

// Without br_netfilter the host routes what comes back, and no hairpinMode is needed.
func TestPortsReachTheContainerItselfByRoute(t *testing.T) {
	w := newPortWorldWith(t, "")
	// The files are there with br_netfilter only; each namespace has its own.
	for _, name := range []string{"iptables", "ip6tables"} {
		key := "net/bridge/bridge-nf-call-" + name
		if was, err := sysctl.Read(key); err == nil {
			if err := sysctl.Write(key, "0"); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sysctl.Write(key, was) }()
		}
	}
	w.add(t, "c1", "", mapped)
	for _, id := range []string{"c1", "c2"} {
		for _, to := range []string{hostOutside4 + ":8080", "10.9.0.1:8080", "[" + hostOutside6 + "]:8080"} {
			if got := portAnswer(t, w.containers[id].NetNS, "tcp", to); got != "c1:80" {
				t.Errorf("%s to %s: got %q", id, to, got)
			}
		}
	}
}

// A packet for other hosts passes through, whatever its port.
func TestOnlyTheHostsAddressesAreTaken(t *testing.T) {
	w := newPortWorld(t)
	w.add(t, "c1", "", mapped)
	serveTest(t, w.outside, "outside", 8080)
	nstest.Run(t, w.outside, "ip", "route", "add", "10.9.0.0/24", "via", hostOutside4)
	if got := portAnswer(t, w.containers["c2"].NetNS, "tcp", "198.51.100.2:8080"); got != "outside" {
		t.Errorf("c2 to the outside's port: got %q", got)
	}
}

// The client never closes its socket, so the kernel tracks one flow all along.
func TestStaleUDPFlowsAreForgotten(t *testing.T) {
	w := newPortWorld(t)
	udp := `{"hostPort":5353,"containerPort":80,"protocol":"udp"}`
	for _, to := range []string{hostOutside4 + ":5353", "[" + hostOutside6 + "]:5353"} {
		client, err := dialIn(t, w.outside, "udp", to)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ask := func(want string) {
			t.Helper()
			got := ""
			for range 8 {
				if got, _ = exchange(client); got != "" || want == "" {
					break
				}
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", to, got, want)
			}
		}
		ask("") // to the host itself, where nobody listens
		del := w.add(t, "c1", "", udp)
		ask("c1:80")
		del()
		ask("")
		del = w.add(t, "c2", "", udp)
		ask("c2:80")
		del()
	}
}

// A client of SCTP that has a port of its own begins anew from there, and reaches whoever has the mapping now.
func TestStaleSCTPFlowsAreForgotten(t *testing.T) {
	w := newPortWorld(t)
	const hostPort, port, client = 5353, 80, 40000
	for _, to := range []struct{ network, address, any string }{
		{sctp.Network4, hostOutside4, "0.0.0.0"}, {sctp.Network6, hostOutside6, "::"},
	} {
		c, err := dialIn(t, w.outside, to.network, to.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := func() {
			t.Helper()
			if _, err := c.Write(sctp.Init(client, hostPort)); err != nil {
				t.Fatal(err)
			}
		}
		begin() // to the host itself
		for _, id := range []string{"c1", "c2"} {
			del := w.add(t, id, "", fmt.Sprintf(`{"hostPort":%d,"containerPort":%d,"protocol":"sctp"}`, hostPort, port))
			var l net.PacketConn
			nstest.In(t, w.containers[id].NetNS, func() { l, err = net.ListenPacket(to.network, to.any) })
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 1500)
			var from net.Addr
			for range 60 {
				begin()
				_ = l.SetReadDeadline(time.Now().Add(time.Second)) // the kernel keeps a flow that is answered for longer
				if _, from, err = l.ReadFrom(got); err == nil {
					_, err = l.WriteTo(sctp.InitAck(port, client), from)
					break
				}
			}
			l.Close()
			if _, at := sctp.Ports(got); at != port || err != nil {
				t.Errorf("%s to %s: got a packet for port %d, %v", id, to.address, at, err)
			}
			del()
		}
	}
}

// An association with another container goes on, though it's by the same address of the host.
func TestOtherSCTPFlowsAreKept(t *testing.T) {
	w := newPortWorld(t)
	w.add(t, "c2", "", `{"hostPort":5354,"containerPort":81,"protocol":"sctp"}`)
	const patience = "net/netfilter/nf_conntrack_sctp_timeout_cookie_wait" // the flow outlasts a slow machine
	was, err := sysctl.Read(patience)
	if err == nil {
		err = sysctl.Write(patience, "3600")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sysctl.Write(patience, was) }()
	c, err := dialIn(t, w.outside, sctp.Network4, hostOutside4)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var l net.PacketConn
	nstest.In(t, w.containers["c2"].NetNS, func() { l, err = net.ListenPacket(sctp.Network4, "0.0.0.0") })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make([]byte, 1500)
	for range 60 {
		if _, err := c.Write(sctp.Init(40000, 5354)); err != nil {
			t.Fatal(err)
		}
		_ = l.SetReadDeadline(time.Now().Add(time.Second))
		if _, _, err = l.ReadFrom(got); err == nil {
			break
		}
	}
	if _, at := sctp.Ports(got); at != 81 || err != nil {
		t.Fatalf("got a packet for port %d, %v", at, err)
	}
	w.add(t, "c1", "", `{"hostPort":5353,"containerPort":80,"protocol":"sctp"}`)()
	conn, err := conntrack.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var seen []string
	_, err = conn.Forget(conntrack.Filter{Protocol: unix.IPPROTO_SCTP}, func(f conntrack.Flow) bool {
		seen = append(seen, f.Dst.String())
		return false
	})
	if want := []string{hostOutside4 + ":5354"}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("flows: %v, %v, want %v", seen, err, want)
	}
}

// Flows that pass through the host to the same port aren't touched: their NAT would change in mid-stream.
func TestForeignUDPFlowsAreKept(t *testing.T) {
	w := newPortWorld(t)
	serveTest(t, w.outside, "outside", 5353)
	nstest.Run(t, w.outside, "ip", "route", "add", "10.9.0.0/24", "via", hostOutside4)
	w.add(t, "c2", "", mapped) // the kernel tracks nothing before there are rules that want it
	if got := portAnswer(t, w.containers["c2"].NetNS, "udp", "198.51.100.2:5353"); got != "outside" {
		t.Fatalf("got %q", got)
	}
	del := w.add(t, "c1", "", `{"hostPort":5353,"containerPort":80,"protocol":"udp"},{"hostPort":5354,"containerPort":80,"protocol":"udp"}`)
	del()
	conn, err := conntrack.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var seen []string
	_, err = conn.Forget(conntrack.Filter{Protocol: unix.IPPROTO_UDP, DstPort: 5353}, func(f conntrack.Flow) bool {
		seen = append(seen, f.Dst.String())
		return false
	})
	if err != nil || len(seen) == 0 || seen[0] != "198.51.100.2:5353" {
		t.Errorf("flows: %v, %v", seen, err)
	}
}

func TestConditionsOfOneContainer(t *testing.T) {
	w := newPortWorld(t)
	for _, keys := range []string{`"conditionsV4":["!","-s","198.51.100.2"]`, `"conditionsV4":["ip","saddr","!=","198.51.100.2"]`,
		`"conditionsV4":["ip","saddr","!=","{","203.0.113.7,","198.51.100.2","}"]`, `"conditionsV4":["ip saddr {203.0.113.7,` + hostOutside4 + `}"]`,
		`"conditionsV4":["-s","203.0.113.0/255.255.255.0,` + hostOutside4 + `","-m","addrtype","--dst-type","LOCAL"]`,
		`"conditionsV4":["-m","comment","--comment","x","-m","addrtype","--src-type","LOCAL,BLACKHOLE"]`, `"conditionsV4":["fib","saddr","type","!=","unicast"]`} {
		del := w.add(t, "c1", keys, mapped)
		w.add(t, "c2", "", `{"hostPort":7070,"containerPort":80,"protocol":"tcp"}`)
		for _, r := range []struct{ from, to, want string }{
			{w.outside, hostOutside4 + ":8080", ""},
			{"", hostOutside4 + ":8080", "c1:80"},
			{w.outside, "[" + hostOutside6 + "]:8080", "c1:80"},
			{w.outside, hostOutside4 + ":7070", "c2:80"},
		} {
			if got := portAnswer(t, r.from, "tcp", r.to); got != r.want {
				t.Errorf("%s: %s: got %q, want %q", keys, r.to, got, r.want)
			}
		}
		del()
	}
}

// masqAll, and snat off: who the container thinks it's talking to.
func TestMasqueradeOfMappings(t *testing.T) {
	nstest.Full(t, "it takes long")
	w := newPortWorld(t)
	for keys, want := range map[string]string{``: "198.51.100.2", `"masqAll":true`: "10.9.0.1", `"snat":false`: "198.51.100.2"} {
		del := w.add(t, "c1", keys, `{"hostPort":6060,"containerPort":60,"protocol":"tcp"}`)
		var l net.Listener
		var err error
		nstest.In(t, w.containers["c1"].NetNS, func() { l, err = net.Listen("tcp", ":60") })
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialIn(t, w.outside, "tcp", hostOutside4+":6060")
		if err != nil {
			t.Fatal(keys, err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got := netip.MustParseAddrPort(s.RemoteAddr().String()).Addr().Unmap().String(); got != want {
			t.Errorf("%s: the client is %s, want %s", keys, got, want)
		}
		if local := portAnswer(t, "", "tcp", "127.0.0.1:6060"); keys == `"snat":false` && local != "" {
			t.Error("127.0.0.1 works without snat")
		}
		l.Close()
		del()
	}
}

// A container mustn't reach what listens on the host's loopback, though route_localnet is on.
func TestLoopbackStaysTheHosts(t *testing.T) {
	w := newPortWorld(t)
	l, err := net.ListenPacket("udp", "127.0.0.1:4444")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	send := func(patience time.Duration) bool {
		t.Helper()
		// Its own loopback would keep the packet.
		nstest.Run(t, w.containers["c1"].NetNS, "sh", "-c", "ip link set lo down; ip route del local 127.0.0.0/8 dev lo table local; ip addr del 127.0.0.1/8 dev lo; "+
			"echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet; ip route replace 127.0.0.1/32 via 10.9.0.1 src 10.9.0.2; true")
		c, err := dialIn(t, w.containers["c1"].NetNS, "udp", "127.0.0.1:4444")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte("x"))
		_ = l.SetReadDeadline(time.Now().Add(patience))
		_, _, err = l.ReadFrom(make([]byte, 8))
		return err == nil
	}
	w.add(t, "c1", "", mapped)
	if send(300 * time.Millisecond) {
		t.Error("a container reached the host's loopback")
	}
	nstest.Run(t, "", "nft", "delete", "chain", "inet", "swiftcni", "localnet4")
	if !send(time.Minute) {
		t.Error("the test's packet doesn't arrive without the guard either: it proves nothing")
	}
}

func TestTakenPort(t *testing.T) {
	w := newPortWorld(t)
	w.add(t, "c1", "", mapped)
	n := w.conf(t, "c2", "", mapped)
	_, err := portmapRoom.add(t.Context(), n, w.containers["c2"])
	e := fault.Of(err)
	if err == nil || e.Code != CodePortTaken || !strings.Contains(e.Msg, "8080") || !strings.Contains(e.Msg, "container c1") {
		t.Errorf("got %v", err)
	}
	// The refused ADD's DEL leaves the holder alone.
	if err := portmapRoom.del(t.Context(), n, w.containers["c2"]); err != nil {
		t.Error(err)
	}
	if got := portAnswer(t, w.outside, "tcp", hostOutside4+":8080"); got != "c1:80" {
		t.Errorf("got %q", got)
	}
}

func TestPortmapGC(t *testing.T) {
	w := newPortWorld(t)
	w.add(t, "c1", "", mapped)
	w.add(t, "c2", "", `{"hostPort":7070,"containerPort":80,"protocol":"udp"}`)
	n := w.conf(t, "c1", "", "")
	if err := portmapRoom.reclaim(t.Context(), n); err != nil {
		t.Error(err)
	}
	if got := portOwners(t); got != "c1 c2" {
		t.Errorf("after GC without a list: %s", got)
	}
	if err := portmapRoom.gc(t.Context(), n, []Attachment{{ContainerID: "c1", IfName: "eth0"}}); err != nil {
		t.Error(err)
	}
	if got := portOwners(t); got != "c1" {
		t.Errorf("after GC: %s", got)
	}
	if err := portmapRoom.status(t.Context(), n); err != nil {
		t.Error("status:", err)
	}
}

// portOwners returns the containers that have mappings.
func portOwners(t testing.TB) string {
	conn, err := nft.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var ids []string
	for p, err := range conn.Published("") {
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) == 0 || ids[len(ids)-1] != p.Owner.ContainerID {
			ids = append(ids, p.Owner.ContainerID)
		}
	}
	return strings.Join(ids, " ")
}
