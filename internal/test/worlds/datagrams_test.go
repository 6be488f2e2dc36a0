// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/test/sctp"
)

// inside has a socket opened in a container, or on the outside, of which the name is theOutside.
func (p *podman) inside(place string, open func() (net.Conn, net.PacketConn, error)) (c net.Conn, l net.PacketConn) {
	p.t.Helper()
	path := box.OutNetNS
	if place != theOutside {
		path = "/proc/" + p.podman("inspect", "-f", "{{.State.Pid}}", place) + "/ns/net"
	}
	var err error
	nstest.In(p.t, fmt.Sprintf("/proc/%d/root%s", p.PID(), path), func() { c, l, err = open() })
	if err != nil {
		p.t.Fatalf("%s: %v", place, err)
	}
	return c, l
}

// exchange sends a packet from the outside to an address of the host's. It returns what the container gets,
// from the outside's own address, and what the outside gets in answer.
func (p *podman) exchange(container, network, listen, to string, packet, answer []byte) (got, back []byte) {
	p.t.Helper()
	_, server := p.inside(container, func() (net.Conn, net.PacketConn, error) {
		l, err := net.ListenPacket(network, listen)
		return nil, l, err
	})
	defer server.Close()
	client, _ := p.inside(theOutside, func() (net.Conn, net.PacketConn, error) {
		c, err := net.Dial(network, to)
		return c, nil, err
	})
	defer client.Close()
	// What gets no answer is sent again, as it's usual: wantPage says why that may be.
	for deadline := time.Now().Add(hang); ; {
		_ = server.SetDeadline(time.Now().Add(again))
		_ = client.SetDeadline(time.Now().Add(2 * again))
		if _, err := client.Write(packet); err != nil {
			p.t.Fatal(err)
		}
		got, from, err := received(server)
		if err == nil && hostOf(from) != hostOf(client.LocalAddr()) {
			p.t.Errorf("%s by %s: the container's client is %s, want %s", to, network, from, client.LocalAddr())
		}
		if err == nil {
			_, err = server.WriteTo(answer, from)
		}
		if err == nil {
			back, _, err = received(client.(net.PacketConn)) // an IPConn's Read would return the header, too
		}
		if err == nil {
			return got, back
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s by %s: %v", to, network, err)
		}
	}
}

// hostOf is an address without a port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String() // of an IPConn
	}
	return host
}

// again is how long a packet's answer is waited for.
const again = time.Second

func received(by net.PacketConn) (packet []byte, from net.Addr, err error) {
	packet = make([]byte, 1500)
	n, from, err := by.ReadFrom(packet)
	return packet[:n], from, err
}

// wantUDP wants a port of the host's to be a container's, for UDP.
func (p *podman) wantUDP(address string, hostPort int, container string, port int) {
	p.t.Helper()
	to := net.JoinHostPort(address, strconv.Itoa(hostPort))
	if got, back := p.exchange(container, "udp", ":"+strconv.Itoa(port), to, []byte("question"), []byte("answer")); string(got) != "question" || string(back) != "answer" {
		p.t.Errorf("%s by UDP: %q, answered by %q", to, got, back)
	}
}

// wantSCTP wants the same for SCTP, by the first two packets of an association.
func (p *podman) wantSCTP(address string, hostPort int, container string, port int) {
	p.t.Helper()
	const client = 40000
	got, back := p.exchange(container, sctp.Network4, "0.0.0.0", address, sctp.Init(client, hostPort), sctp.InitAck(port, client))
	if _, to := sctp.Ports(got); to != port {
		p.t.Errorf("port %d by SCTP: %s got a packet for %d, want %d", hostPort, container, to, port)
	}
	if from, _ := sctp.Ports(back); from != hostPort {
		p.t.Errorf("port %d by SCTP: answered by %d", hostPort, from)
	}
}
