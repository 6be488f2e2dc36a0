// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/rpc"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/swiftcni/swiftcni/cni/spec"
)

// CmdArgs is skel's, as the reference's plugins have it.
type CmdArgs struct {
	ContainerID   string
	Netns         string
	IfName        string
	Args          string
	Path          string
	NetnsOverride string
	StdinData     []byte
}

// Gob reads a request as the values that it's meant to be.
func TestRequestIsGob(t *testing.T) {
	for _, want := range []CmdArgs{
		{},
		{ContainerID: "c1"},
		{StdinData: []byte("{}")},
		{"c1", "/run/netns/c1", "eth0", "A=b", "/opt/cni/bin", "1", []byte(`{"name":"net"}`)},
		{ContainerID: strings.Repeat("x", 127), Netns: strings.Repeat("n", 128), StdinData: bytes.Repeat([]byte{0, 255}, 40_000)},
	} {
		b := appendMessage([]byte(headerDefinition), headerType, allocate)
		b = appendMessage(append(b, argumentsDefinition...), argumentsType,
			want.ContainerID, want.Netns, want.IfName, want.Args, want.Path, want.NetnsOverride, string(want.StdinData))
		dec := gob.NewDecoder(bytes.NewReader(b))
		var header rpc.Request
		var got CmdArgs
		if err := dec.Decode(&header); err != nil {
			t.Fatal(err)
		}
		if err := dec.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if header.ServiceMethod != allocate || header.Seq != 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %+v", header, got)
		}
		if err := dec.Decode(&got); err != io.EOF {
			t.Errorf("more follows: %v", err)
		}
	}
}

// The definitions are gob's own, but for their numbers and so their lengths.
func TestDefinitionsAreGobs(t *testing.T) {
	for _, tt := range []struct {
		of   any
		text string
	}{{rpc.Request{}, headerDefinition}, {CmdArgs{}, argumentsDefinition}} {
		var b bytes.Buffer
		if err := gob.NewEncoder(&b).Encode(tt.of); err != nil {
			t.Fatal(err)
		}
		if got, want := withoutNumber(tt.text), withoutNumber(string(b.Next(int(b.Bytes()[0])+1))); got != want {
			t.Errorf("%T: got %q, gob has %q", tt.of, got, want)
		}
	}
}

// withoutNumber leaves the number of a struct's type out of its definition: at the beginning, and
// behind its name.
func withoutNumber(definition string) string {
	_, rest, _ := strings.Cut(definition, "\x03\x01\x01")
	name, rest, _ := strings.Cut(rest, "\x01\xff")
	return name + rest[1:]
}

// The types of a result, as libcni has them in types100 and types.
type (
	Result struct {
		CNIVersion string
		Interfaces []*netInterface
		IPs        []*ipConfig
		Routes     []*route
		DNS        dns
	}
	netInterface struct {
		Name, Mac  string
		Mtu        int
		Sandbox    string
		SocketPath string
		PciID      string
	}
	ipConfig struct {
		Interface *int
		Address   net.IPNet
		Gateway   net.IP
	}
	route struct {
		Dst                   net.IPNet
		GW                    net.IP
		MTU, AdvMSS, Priority int
		Table, Scope          *int
	}
	dns struct {
		Nameservers []string
		Domain      string
		Search      []string
		Options     []string
	}
)

func network(ip net.IP, ones int) net.IPNet {
	bits := 32
	if ip.To4() == nil {
		bits = 128
	}
	return net.IPNet{IP: ip, Mask: net.CIDRMask(ones, bits)}
}

func pointer(n int) *int { return &n }

// encoded is the answer to a call, as net/rpc sends it.
func encoded(t testing.TB, refusal string, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := gob.NewEncoder(&b)
	for _, v := range []any{rpc.Response{ServiceMethod: allocate, Seq: 300, Error: refusal}, v} {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func decoded(b []byte) (header, reply []byte, err error) {
	d := &decoder{from: iotest.OneByteReader(bytes.NewReader(b))}
	if header, err = d.next(); err == nil {
		reply, err = d.next()
	}
	return header, reply, err
}

// A result has the values that gob's decoder finds in it. It's compared as the reference prints it:
// that has JSON's names and the forms of addresses.
func TestResultIsRead(t *testing.T) {
	full := Result{
		CNIVersion: "1.1.0",
		Interfaces: []*netInterface{{Name: "eth0", Mtu: 9}},
		IPs: []*ipConfig{
			{Address: network(net.IPv4(10, 77, 0, 9), 24), Gateway: net.IP{10, 77, 0, 1}},
			{Interface: pointer(0), Address: network(net.ParseIP("fd00::9"), 64), Gateway: net.ParseIP("fd00::1")},
			{Address: network(net.IP{10, 77, 0, 8}, 0)}, {Address: network(net.IP{10, 77, 0, 8}, 32)}, {Address: network(net.IP{10, 77, 0, 8}, 17)},
		},
		Routes: []*route{
			{Dst: network(net.IPv4zero, 0), GW: net.IP{10, 77, 0, 1}, Priority: 100, MTU: 1400, AdvMSS: 1360, Table: pointer(4711)},
			{Dst: network(net.IP{10, 9, 0, 0}, 16), GW: net.IP{0, 0, 0, 0}, Scope: pointer(253)},
		},
		DNS: dns{[]string{"10.0.0.1", "10.0.0.2"}, "a.example", []string{"b", "c"}, []string{"ndots:2"}},
	}
	header, reply, err := decoded(encoded(t, "", full))
	if err != nil {
		t.Fatal(err)
	}
	res := spec.Result{CNIVersion: "1.0.0"}
	if err := res.UnmarshalJSON(reply); err != nil {
		t.Fatalf("%v: %s", err, reply)
	}
	var got []string
	for _, ip := range res.IPs {
		got = append(got, fmt.Sprint(ip.Address, " ", ip.Gateway, " ", ip.Interface))
	}
	for _, r := range res.Routes {
		table, scope := 0, 0
		if r.Table != nil {
			table = *r.Table
		}
		if r.Scope != nil {
			scope = *r.Scope
		}
		got = append(got, fmt.Sprint(r.Dst, " ", r.Gateway, " ", r.MTU, " ", r.AdvMSS, " ", r.Priority, " ", table, " ", scope, r.Others))
	}
	got = append(got, fmt.Sprint(res.DNS, res.Others, len(res.Interfaces)))
	want := []string{
		"10.77.0.9/24 10.77.0.1 -1", "fd00::9/64 fd00::1 -1", "10.77.0.8/0 invalid IP -1", "10.77.0.8/32 invalid IP -1", "10.77.0.8/17 invalid IP -1",
		"0.0.0.0/0 10.77.0.1 1400 1360 100 4711 0", "10.9.0.0/16 0.0.0.0 0 0 0 0 253",
		"{[10.0.0.1 10.0.0.2] a.example [b c] [ndots:2] }0",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if said := refusal(header); said != "" {
		t.Errorf("the header refuses: %q", said)
	}
}

func TestRefusalIsRead(t *testing.T) {
	header, _, err := decoded(encoded(t, "no more tries", struct{}{}))
	if err != nil || refusal(header) != "no more tries" {
		t.Errorf("%s, %v", header, err)
	}
}

// A strange has values of all kinds but those that no decoder can skip: interfaces and complex
// numbers.
type strange struct {
	Result
	IPs     []*ipConfig
	Flags   map[string][]bool
	Numbers map[int8]float64
	Array   [3]uint16
	Inner   struct{ A, B struct{ C [][]string } }
	When    opaque
	Later   *strange
}

type opaque struct{ text string }

func (o opaque) MarshalBinary() ([]byte, error)     { return []byte(o.text), nil }
func (o *opaque) UnmarshalBinary(text []byte) error { o.text = string(text); return nil }

// What isn't known is skipped.
func TestUnknownIsSkipped(t *testing.T) {
	v := strange{
		IPs:     []*ipConfig{{Address: network(net.IP{10, 1, 2, 3}, 8)}},
		Flags:   map[string][]bool{"a": {true, false}, "": nil},
		Numbers: map[int8]float64{-1: 0.1, 2: 1e300},
		Array:   [3]uint16{1, 2, 65535},
		When:    opaque{"\x00\xff"},
		Later:   &strange{When: opaque{"x"}},
	}
	v.Inner.B.C = [][]string{{"x"}, nil, {"", "y"}}
	_, reply, err := decoded(encoded(t, "", v))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(reply, &got); err != nil {
		t.Fatalf("%v: %s", err, reply)
	}
	if want := map[string]any{"IPs": []any{map[string]any{"Address": "10.1.2.3/8"}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
}

// Numbers have any sign and length.
func TestNumbers(t *testing.T) {
	for _, n := range []int{0, 1, -1, 63, 64, -64, -65, 127, 128, 255, 256, 1 << 16, 1<<31 - 1, -1 << 31, math.MaxInt, math.MinInt} {
		_, reply, err := decoded(encoded(t, "", struct{ MTU int }{n}))
		var got struct{ MTU int }
		if err == nil {
			err = json.Unmarshal(reply, &got)
		}
		if err != nil || got.MTU != n {
			t.Errorf("%d: got %d, %v", n, got.MTU, err)
		}
	}
}

// A mask with holes, or of the other family, makes no address.
func TestWrongMasks(t *testing.T) {
	for _, n := range []net.IPNet{
		{IP: net.IP{10, 0, 0, 1}, Mask: net.IPMask{255, 0, 255, 0}}, {IP: net.IP{10, 0, 0, 1}, Mask: net.IPMask{255, 253, 0, 0}},
		{IP: net.IP{10, 0, 0, 1}, Mask: net.CIDRMask(64, 128)}, {IP: net.IP{10, 0, 0}, Mask: net.CIDRMask(8, 32)}, {IP: net.IP{10, 0, 0, 1}}, {},
	} {
		_, reply, err := decoded(encoded(t, "", Result{IPs: []*ipConfig{{Address: n}}}))
		if err != nil {
			t.Fatal(err)
		}
		if err := (&spec.Result{CNIVersion: "1.0.0"}).UnmarshalJSON(reply); err == nil {
			t.Errorf("%v is taken: %s", n, reply)
		}
	}
}

// FuzzDecoder gives rubbish to the decoder. What gob's decoder reads as an answer, and what ours
// reads, is JSON of the same addresses.
func FuzzDecoder(f *testing.F) {
	f.Add(encoded(f, "", Result{IPs: []*ipConfig{{Address: network(net.IP{10, 1, 2, 3}, 8)}}, Routes: []*route{{GW: net.IP{1, 2, 3, 4}, Scope: pointer(3)}}}))
	f.Add(encoded(f, "no", struct{}{}))
	f.Add(encoded(f, "", strange{Flags: map[string][]bool{"a": {true}}}))
	f.Add([]byte("\xf8\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		header, reply, err := decoded(b)
		dec := gob.NewDecoder(bytes.NewReader(b))
		var theirs Result
		var of rpc.Response
		theirErr := dec.Decode(&of)
		if theirErr == nil {
			theirErr = dec.Decode(&theirs)
		}
		if err != nil {
			return
		}
		if !json.Valid(header) || !json.Valid(reply) {
			t.Fatalf("no JSON: %q, %q", header, reply)
		}
		var ours spec.Result
		ours.CNIVersion = "1.0.0"
		if theirErr != nil || ours.UnmarshalJSON(reply) != nil {
			return
		}
		if utf8.ValidString(of.Error) && refusal(header) != of.Error {
			t.Errorf("refusal %q, gob has %q", refusal(header), of.Error)
		}
		if len(ours.IPs) != len(theirs.IPs) || len(ours.Routes) != len(theirs.Routes) {
			t.Fatalf("got %+v, gob has %+v: %s", ours, theirs, reply)
		}
		for i, ip := range ours.IPs {
			if got, want := ip.Address.String(), theirs.IPs[i].Address.String(); got != want {
				t.Errorf("address %s, gob has %s", got, want)
			}
		}
		for i, r := range ours.Routes {
			if got, want := r.Priority, theirs.Routes[i].Priority; got != want {
				t.Errorf("priority %d, gob has %d", got, want)
			}
		}
	})
}
