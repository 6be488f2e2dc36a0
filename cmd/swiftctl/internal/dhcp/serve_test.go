// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"context"
	"io"
	"net"
	"net/rpc"
	"path/filepath"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// served is a daemon's socket.
func served(t *testing.T, d *Daemon) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error)
	go func() { over <- d.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return path
}

// net/rpc's client is the reference's plugin's. One connection may make several calls.
func TestClientOfNetRPC(t *testing.T) {
	n := newLAN(t, 600, 900, 1200)
	d, _ := n.daemon()
	c, err := rpc.DialHTTP("unix", served(t, d))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 2 {
		var r Result
		if err := c.Call("DHCP.Allocate", n.args(""), &r); err != nil || r.text() != "10.77.0.9/24 via 10.77.0.1, 0.0.0.0/0 via 10.77.0.1 0" {
			t.Errorf("%v, %s", err, r.text())
		}
	}
	if err := c.Call("DHCP.Steal", n.args(""), &struct{}{}); err == nil || err.Error() != "rpc: can't find method DHCP.Steal" {
		t.Errorf("got %v", err)
	}
	wrong := n.args("")
	wrong.StdinData = []byte(strings.Replace(string(wrong.StdinData), `"type":"dhcp"`, `"type":"dhcp","request":[{"option":"no"}]`, 1))
	if err := c.Call("DHCP.Allocate", wrong, &Result{}); err == nil ||
		err.Error() != `Can not parse option "no": Can not parse option: strconv.ParseUint: parsing "no": invalid syntax` {
		t.Errorf("got %v", err)
	}
	if err := c.Call("DHCP.Release", n.args(""), &struct{}{}); err != nil {
		t.Error(err)
	}
	n.wait("the release", func() bool { return n.heard(dhcpv4.MessageTypeRelease) == 1 })
}

// Whatever comes over the socket, the daemon goes on.
func TestRubbishIsAsked(t *testing.T) {
	n := &lan{t: t, state: filepath.Join(t.TempDir(), "leases")}
	d, _ := n.daemon()
	path := served(t, d)
	const connect = "CONNECT /_goRPC_ HTTP/1.0\n\n"
	for text, want := range map[string]string{
		"":                        "",
		"GET / HTTP/1.1\r\n\r\n":  "HTTP/1.0 404 Not Found\n\n",
		strings.Repeat("x", 9000): "",
		connect:                   "HTTP/1.0 200 Connected to Go RPC\n\n",
		connect + "rubbish":       "HTTP/1.0 200 Connected to Go RPC\n\n",
		connect + "\xf8\xff\xff\xff\xff\xff\xff\xff\xff": "HTTP/1.0 200 Connected to Go RPC\n\n",
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		_ = c.(*net.UnixConn).CloseWrite()
		got, _ := io.ReadAll(c)
		if string(got) != want {
			t.Errorf("%.40q: %q", text, got)
		}
		c.Close()
	}
	c, err := rpc.DialHTTP("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call("DHCP.Release", n.args(""), &struct{}{}); err != nil {
		t.Error(err)
	}
}
