// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// A portWorld is a host with two containers at a bridge, and an outside that has no route to them.
type portWorld struct {
	network    *Network
	outside    string
	containers map[string]Attachment
	results    map[string]*Result
}

const (
	hostOutside4 = "198.51.100.1"
	hostOutside6 = "2001:db8::1"
)

func newPortWorld(t *testing.T) *portWorld {
	// With br_netfilter, which most nodes have loaded, the kernel bridges what a mapping sends back to the port that it came
	// in by: that takes hairpinMode.
	return newPortWorldWith(t, `"hairpinMode": true, `)
}

func newPortWorldWith(t *testing.T, bridgeKeys string) *portWorld {
	w := &portWorld{outside: nstest.New(t, "outside"), containers: map[string]Attachment{}, results: map[string]*Result{}}
	run := func(ns, lines string) {
		for line := range strings.Lines(lines) {
			if f := strings.Fields(line); len(f) > 0 {
				nstest.Run(t, ns, f[0], f[1:]...)
			}
		}
	}
	name := "out" + w.outside[len(w.outside)-6:]
	for _, ns := range []string{"", w.outside} {
		// A link-local address that waits for duplicate detection can't ask for neighbours.
		nstest.Run(t, ns, "sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad")
	}
	run("", `ip link set lo up
		ip link add `+name+` type veth peer name eth0 netns `+w.outside+`
		ip link set `+name+` up
		ip addr add `+hostOutside4+`/24 dev `+name+`
		ip addr add 198.51.100.9/24 dev `+name+`
		ip addr add `+hostOutside6+`/64 dev `+name+` nodad`)
	t.Cleanup(func() {
		removeLink(t, name)
		nstest.Run(t, "", "nft", "flush", "ruleset")
	})
	run(w.outside, `ip link set eth0 up
		ip addr add 198.51.100.2/24 dev eth0
		ip addr add 2001:db8::2/64 dev eth0 nodad`)
	w.network = network(t, bridgeKeys+`"isDefaultGateway": true, "ipam": { "type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "fd00:9::/64"}]], "dataDir": "DIR" }`)
	for _, id := range []string{"c1", "c2"} {
		a := attachment(t, id)
		res, err := Attach(t.Context(), w.network, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = Detach(context.Background(), w.network, a) })
		w.containers[id], w.results[id] = a, res
		for _, port := range []int{80, 81} {
			serveTest(t, a.NetNS, fmt.Sprintf("%s:%d", id, port), port)
		}
	}
	return w
}

// serveTest answers each TCP connection and each datagram with a text.
func serveTest(t *testing.T, ns, text string, port int) {
	// Package net asks once whether there's IPv6, of whatever namespace it is in then: so each family is named.
	for _, family := range []string{"4", "6"} {
		serveFamily(t, ns, text, family, port)
	}
}

func serveFamily(t *testing.T, ns, text, family string, port int) {
	var tcp net.Listener
	var udp net.PacketConn
	var err, err2 error
	nstest.In(t, ns, func() {
		tcp, err = net.Listen("tcp"+family, fmt.Sprintf(":%d", port))
		udp, err2 = net.ListenPacket("udp"+family, fmt.Sprintf(":%d", port))
	})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close(); udp.Close() })
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			c.Close()
		}
	}()
	go func() {
		b := make([]byte, 16)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(text+" "+string(b[:n])), from)
		}
	}()
}

// dialIn opens a connection from a namespace ("" is the host).
func dialIn(t *testing.T, ns, protocol, to string) (net.Conn, error) {
	var c net.Conn
	var err error
	dial := func() { c, err = net.DialTimeout(protocol, to, 4*time.Second) }
	if ns == "" {
		dial()
	} else {
		nstest.In(t, ns, dial)
	}
	return c, err
}

// portAnswer returns who answers at an address, "" if nobody does.
func portAnswer(t *testing.T, ns, protocol, to string) string {
	t.Helper()
	// A first datagram may be lost while neighbours are being learnt, which may take a second; a refusal is heard at once.
	for range 8 {
		c, err := dialIn(t, ns, protocol, to)
		if err != nil {
			return ""
		}
		text, refused := exchange(c)
		c.Close()
		if text != "" || refused {
			return text
		}
	}
	return ""
}

func exchange(c net.Conn) (answer string, refused bool) {
	_ = c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	b := make([]byte, 64)
	if c.RemoteAddr().Network() != "udp" {
		n, err := c.Read(b)
		return string(b[:n]), errors.Is(err, unix.ECONNREFUSED)
	}
	// The answer to an earlier question may come late.
	question := strconv.FormatInt(time.Now().UnixNano()%1e9, 10)
	_, _ = c.Write([]byte(question))
	for {
		n, err := c.Read(b)
		if err != nil {
			return "", errors.Is(err, unix.ECONNREFUSED)
		}
		if text, ok := strings.CutSuffix(string(b[:n]), " "+question); ok {
			return text, false
		}
	}
}

// conf is a configuration of portmap for a container of the world.
func (w *portWorld) conf(t testing.TB, id, keys, mappings string) *Network {
	t.Helper()
	prev, err := json.Marshal(w.results[id])
	if err != nil {
		t.Fatal(err)
	}
	return portmapConf(t, w.network.conf.Name, keys, mappings, string(prev))
}

func portmapConf(t testing.TB, name, keys, mappings, prev string) *Network {
	t.Helper()
	if keys != "" {
		keys += ","
	}
	n, err := parse([]byte(fmt.Sprintf(`{"cniVersion":"1.1.0","name":%q,"type":"portmap",%s"runtimeConfig":{"portMappings":[%s]},"prevResult":%s}`, name, keys, mappings, prev)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (w *portWorld) add(t testing.TB, id, keys, mappings string) (del func()) {
	t.Helper()
	n, a := w.conf(t, id, keys, mappings), w.containers[id]
	res, err := portmapRoom.add(t.Context(), n, a)
	if err != nil {
		t.Fatal(err)
	}
	if err := portmapRoom.check(t.Context(), n, a, res); err != nil {
		t.Error("check:", err)
	}
	deleted := false
	del = func() {
		if deleted {
			return
		}
		deleted = true
		for range 2 {
			if err := portmapRoom.del(t.Context(), n, a); err != nil {
				t.Error("DEL:", err)
			}
		}
	}
	t.Cleanup(del)
	return del
}
