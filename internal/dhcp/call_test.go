// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// DHCP is a daemon that answers as it's told, by net/rpc itself.
type DHCP struct {
	answer Result
	err    error
	asked  []CmdArgs
	calls  []string
}

func (d *DHCP) Allocate(args *CmdArgs, to *Result) error {
	d.asked, d.calls = append(d.asked, *args), append(d.calls, "Allocate")
	*to = d.answer
	return d.err
}

func (d *DHCP) Release(args *CmdArgs, _ *struct{}) error {
	d.asked, d.calls = append(d.asked, *args), append(d.calls, "Release")
	return d.err
}

// listen makes a socket, and a configuration that names it.
func listen(t *testing.T) (net.Listener, *Keys) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, keys(t, path)
}

func keys(t *testing.T, socket string) *Keys {
	t.Helper()
	n, err := netconf.Read([]byte(`{"cniVersion":"1.1.0","name":"net","type":"dhcp","ipam":{"type":"dhcp","daemonSocketPath":"`+socket+`"}}`), "dhcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Keys{n}
}

func serve(t *testing.T, d *DHCP) *Keys {
	t.Helper()
	l, k := listen(t)
	server, mux := rpc.NewServer(), http.NewServeMux()
	if err := server.Register(d); err != nil {
		t.Fatal(err)
	}
	mux.Handle(rpc.DefaultRPCPath, server)
	go func() { _ = http.Serve(l, mux) }()
	return k
}

var c1 = spec.Attachment{ContainerID: "c1", IfName: "eth0", NetNS: "/run/netns/c1", Args: "A=b", SharedNetNS: true}

var leased = Result{IPs: []*ipConfig{{Address: network(net.IP{10, 77, 0, 9}, 24), Gateway: net.IP{10, 77, 0, 1}}}}

// net/rpc's server takes our calls, and gets what the reference's plugin gives it.
func TestServerOfNetRPC(t *testing.T) {
	d := &DHCP{answer: leased}
	k := serve(t, d)
	ctx := process.WithPath(t.Context(), []string{"/opt/cni/bin", "/usr/lib/cni"})
	res, err := k.Add(ctx, nil, c1)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.IPs) != 1 || res.IPs[0].Address.String() != "10.77.0.9/24" || res.IPs[0].Gateway.String() != "10.77.0.1" || res.CNIVersion != "1.1.0" || !res.OfIPAM {
		t.Errorf("got %+v", res)
	}
	relative := c1
	relative.NetNS, relative.SharedNetNS = "ns/c1", false
	if err := k.Del(ctx, nil, relative); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	first := CmdArgs{"c1", "/run/netns/c1", "eth0", "A=b", "/opt/cni/bin:/usr/lib/cni", "1", k.conf.Text}
	second := first
	second.Netns, second.NetnsOverride = filepath.Join(dir, "ns/c1"), ""
	if want := []CmdArgs{first, second}; !reflect.DeepEqual(d.asked, want) || strings.Join(d.calls, " ") != "Allocate Release" {
		t.Errorf("asked %v: %+v", d.calls, d.asked)
	}
}

// CHECK succeeds if the lease is of an address of prevResult.
func TestCheckComparesAddresses(t *testing.T) {
	k := serve(t, &DHCP{answer: leased})
	prev, err := k.Add(t.Context(), nil, c1)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Check(t.Context(), &verbs.Call{Prev: prev}, c1); err != nil {
		t.Error(err)
	}
	if err := k.Check(t.Context(), &verbs.Call{}, c1); err != nil {
		t.Error(err)
	}
	if err := k.Check(t.Context(), &verbs.Call{Prev: &spec.Result{}}, c1); err == nil || !strings.Contains(err.Error(), "10.77.0.9/24") {
		t.Errorf("got %v", err)
	}
}

// CHECK gives nothing back, even if it doesn't understand the answer.
func TestCheckReleasesNothing(t *testing.T) {
	d := &DHCP{}
	if err := serve(t, d).Check(t.Context(), &verbs.Call{}, c1); err == nil || strings.Join(d.calls, " ") != "Allocate" {
		t.Errorf("%v, calls %v", err, d.calls)
	}
}

// checking is a daemon that has a method for CHECK.
type checking struct{ DHCP }

func (d *checking) Check(_ *CmdArgs, to *Result) error {
	d.calls = append(d.calls, "Check")
	*to = d.answer
	return d.err
}

// CHECK asks for no lease where the daemon knows it, nor if there's none.
func TestCheckAsksForNone(t *testing.T) {
	for _, refusal := range []error{nil, errors.New("there's no lease")} {
		d := &checking{DHCP{answer: leased, err: refusal}}
		l, k := listen(t)
		server, mux := rpc.NewServer(), http.NewServeMux()
		if err := server.RegisterName("DHCP", d); err != nil {
			t.Fatal(err)
		}
		mux.Handle(rpc.DefaultRPCPath, server)
		go func() { _ = http.Serve(l, mux) }()
		if err := k.Check(t.Context(), &verbs.Call{}, c1); (err == nil) != (refusal == nil) || strings.Join(d.calls, " ") != "Check" {
			t.Errorf("%v, calls %v", err, d.calls)
		}
	}
}

// A call that's refused holds nothing, so nothing is given back; an answer that's of no use is.
func TestRefusedAndUseless(t *testing.T) {
	refused := &DHCP{err: errors.New("no more tries")}
	if _, err := serve(t, refused).Add(t.Context(), nil, c1); err == nil || err.Error() != "error calling DHCP.Allocate: no more tries" || len(refused.calls) != 1 {
		t.Errorf("%v, calls %v", err, refused.calls)
	}
	for name, answer := range map[string]Result{
		"IPAM plugin returned missing IP config": {},
		"dhcp.IPs[0].Address":                    {IPs: []*ipConfig{{}}},
		"dhcp.routes[0]":                         {IPs: leased.IPs, Routes: []*route{{Dst: network(net.IP{10, 9, 0, 0}, 16), Priority: -1}}},
	} {
		d := &DHCP{answer: answer}
		if _, err := serve(t, d).Add(t.Context(), nil, c1); err == nil || !strings.Contains(err.Error(), name) || strings.Join(d.calls, " ") != "Allocate Release" {
			t.Errorf("%v, calls %v", err, d.calls)
		}
	}
}

// Nobody there is an error in the reference's words, and no ADD can succeed.
func TestNobodyListens(t *testing.T) {
	k := keys(t, "/nowhere/sock")
	for verb, err := range map[string]error{"DEL": k.Del(t.Context(), nil, c1), "CHECK": k.Check(t.Context(), &verbs.Call{}, c1)} {
		if err == nil || err.Error() != "error dialing DHCP daemon: dial unix /nowhere/sock: connect: no such file or directory" || fault.Of(err).Code != spec.CodeInternal {
			t.Errorf("%s: %v", verb, err)
		}
	}
	if e := fault.Of(k.Status(t.Context(), nil)); e.Code != spec.CodeUnavailable {
		t.Errorf("STATUS: %+v", e)
	}
	if err := serve(t, &DHCP{}).Status(t.Context(), nil); err != nil {
		t.Errorf("STATUS: %v", err)
	}
}

// Others than the daemon may listen.
func TestStrangeAnswers(t *testing.T) {
	const ok = "HTTP/1.0 200 Connected to Go RPC\n\n"
	for said, want := range map[string]string{
		"":                                      "error dialing DHCP daemon: dial-http unix SOCKET: unexpected EOF",
		"HTTP/1.1 404 Not Found\r\n\r\n":        "error dialing DHCP daemon: dial-http unix SOCKET: unexpected HTTP response: 404 Not Found",
		"220 mail.example ESMTP\n\n":            "error dialing DHCP daemon: dial-http unix SOCKET: unexpected HTTP response: mail.example ESMTP",
		strings.Repeat("x", maxAnswer+1):        "error dialing DHCP daemon: dial-http unix SOCKET: the answer isn't gob",
		ok:                                      "error calling DHCP.Release: unexpected EOF",
		ok + "\x05":                             "error calling DHCP.Release: unexpected EOF",
		ok + "\x07rubbish, and more":            "error calling DHCP.Release: the answer isn't gob",
		ok + "\xf7":                             "error calling DHCP.Release: unexpected EOF",
		ok + "\xf7" + strings.Repeat("\xff", 9): "error calling DHCP.Release: the answer isn't gob",
		ok + string(encoded(t, "", 7)[:60]):     "error calling DHCP.Release: unexpected EOF",
		ok + string(encoded(t, "no such thing", struct{}{})): "error calling DHCP.Release: no such thing",
	} {
		l, k := listen(t)
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				_, rest, _ := strings.Cut(said, "\n\n")
				var b [4096]byte
				_, _ = c.Read(b[:])
				_, _ = io.WriteString(c, said[:len(said)-len(rest)])
				if strings.HasPrefix(said, ok) {
					_, _ = c.Read(b[:])
					_, _ = io.WriteString(c, rest)
				}
				c.Close()
			}
		}()
		err := k.Del(t.Context(), nil, c1)
		if err == nil || err.Error() != strings.ReplaceAll(want, "SOCKET", k.conf.IPAM.Socket) {
			t.Errorf("%.60q: got  %v\nwant %s", said, err, want)
		}
	}
}

// A daemon that never answers, and one whose backlog is full, hold nobody longer than the caller
// waits.
func TestDaemonIsSilent(t *testing.T) {
	silent, k := listen(t)
	go func() {
		for _, err := silent.Accept(); err == nil; _, err = silent.Accept() {
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := k.Del(ctx, nil, c1); err == nil || !strings.HasSuffix(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("got %v", err)
	}
	if _, err := k.call(t.Context(), release, c1, 10*time.Millisecond); err == nil || !strings.HasSuffix(err.Error(), context.DeadlineExceeded.Error()) {
		t.Errorf("got %v", err)
	}
}
