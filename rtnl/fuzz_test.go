// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// again encodes a decoded change.
func again(v verb, o Object) *Batch {
	var b Batch
	b.add(v, o)
	return &b
}

// FuzzChange: what decodes as a change prints itself and, encoded, decodes to something that's
// encoded the same.
func FuzzChange(f *testing.F) {
	f.Fuzz(func(t *testing.T, m []byte) {
		before := bytes.Clone(m)
		v, o, err := decodeChange(m)
		if !bytes.Equal(m, before) {
			t.Fatal("decoding changed its input")
		}
		if err != nil {
			return
		}
		if int(v) >= len(verbNames) {
			t.Fatalf("verb %d", v)
		}
		// What's decoded must not be a part of the input, which the next receive overwrites.
		printed := again(v, o)
		for i := range m {
			m[i] ^= 0xff
		}
		second := again(v, o)
		if !bytes.Equal(printed.enc.buf, second.enc.buf) {
			t.Fatal("the change shares memory with the bytes that it was decoded from")
		}
		if second.err != nil || second.Len() == 0 {
			return // decodable, but no batch would send it
		}
		v2, o2, err := decodeChange(second.message(0))
		if err != nil || v2 != v {
			t.Fatalf("%v %#v became %v: %v", v, o, v2, err)
		}
		if third := again(v2, o2); !bytes.Equal(second.enc.buf, third.enc.buf) {
			t.Fatalf("not the same twice:\n%#v\n% x\n%#v\n% x", o, second.enc.buf, o2, third.enc.buf)
		}
		if s := second.String(); s == "" || s[len(s)-1] != '\n' {
			t.Fatalf("printed as %q", s)
		}
	})
}

// FuzzLink: an answer about a link has a state, and its bridge and port parts decode or are
// refused.
func FuzzLink(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeLink(b)
		if err != nil {
			return
		}
		if m.State == Unchanged || m.Promisc == Unset || m.Master == NoMaster {
			t.Fatalf("an answer leaves something open: %+v", m.Link)
		}
		if int32(binary.NativeEndian.Uint32(b[4:])) != int32(m.Index) {
			t.Fatalf("index %d", m.Index)
		}
		if g, err := bridgeOf(m.Link, m.data); err == nil && !reflect.DeepEqual(g.Link, m.Link) {
			t.Fatalf("bridge changed its link: %+v", g)
		}
		if k, err := m.kindLink(); err == nil && (!reflect.DeepEqual(k.Link, m.Link) || k.parent != m.PeerIndex) {
			t.Fatalf("its kind changed the link: %+v", k)
		}
		if p, err := portOf(m.Link, m.port); err == nil && (p.Link != m.Index || p.Name != m.Name) {
			t.Fatalf("port of another link: %+v", p)
		}
	})
}

// FuzzAddr: an address that decodes has a valid prefix, and comes back from its own encoding.
func FuzzAddr(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeAddr(b)
		if err != nil {
			return
		}
		if !a.Prefix.IsValid() || a.Peer == a.Prefix.Addr() {
			t.Fatalf("%+v", a)
		}
		batch := again(create, a.Addr)
		if batch.err != nil {
			t.Fatalf("%+v can't be encoded: %v", a, batch.err)
		}
		got, err := decodeAddr(batch.message(0)[unix.NLMSG_HDRLEN:])
		got.Tentative, got.DADFailed, got.Permanent = a.Tentative, a.DADFailed, a.Permanent
		if err != nil || got != a {
			t.Fatalf("%+v came back as %+v: %v", a, got, err)
		}
	})
}

// FuzzRoute: a route that decodes has a valid destination, and so has each of its next hops.
func FuzzRoute(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r, hops, err := decodeRoute(b)
		if err != nil {
			return
		}
		if !r.Dst.IsValid() {
			t.Fatalf("%+v", r)
		}
		n := 0
		r.nextHops(hops, func(hop Route) bool {
			n++
			if hop.Dst != r.Dst || hop.Table != r.Table {
				t.Fatalf("next hop %+v of route %+v", hop, r)
			}
			return true
		})
		if n*unix.SizeofRtNexthop > len(hops) {
			t.Fatalf("%d next hops in %d bytes", n, len(hops))
		}
		batch := again(create, r)
		if batch.err != nil {
			t.Fatalf("%+v can't be encoded: %v", r, batch.err)
		}
		got, _, err := decodeRoute(batch.message(0)[unix.NLMSG_HDRLEN:])
		if r.Protocol == 0 {
			got.Protocol = 0
		}
		if r.Dst.Bits() == 0 {
			got.Dst, r.Dst = r.Dst, r.Dst.Masked()
			got.Dst = got.Dst.Masked()
		}
		if err != nil || got != r {
			t.Fatalf("%+v came back as %+v: %v", r, got, err)
		}
	})
}

// FuzzNeigh: a neighbour comes back from its own encoding.
func FuzzNeigh(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNeigh(b)
		if err != nil || n.State == 0 {
			return
		}
		batch := again(create, n)
		got, err := decodeNeigh(batch.message(0)[unix.NLMSG_HDRLEN:])
		if err != nil || !reflect.DeepEqual(got, n) {
			t.Fatalf("%+v came back as %+v: %v", n, got, err)
		}
	})
}

// FuzzTBF: a token bucket filter comes back from its own encoding.
func FuzzTBF(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeTC(b)
		if err != nil {
			return
		}
		q, err := tbfOf(m)
		if err != nil {
			return
		}
		batch := again(create, q)
		if batch.err != nil {
			if q.Rate != 0 {
				t.Fatalf("%+v can't be encoded: %v", q, batch.err)
			}
			return
		}
		got, err := decodeQdiscChange(batch.message(0)[unix.NLMSG_HDRLEN:])
		if err != nil || got != q {
			t.Fatalf("%+v came back as %+v: %v", q, got, err)
		}
	})
}

// FuzzRule: a rule that decodes has a valid source, and comes back from its own encoding unless
// it's one that no batch makes.
func FuzzRule(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRule(b)
		if err != nil {
			return
		}
		if !r.Src.IsValid() {
			t.Fatalf("%+v", r)
		}
		batch := again(create, r.Rule)
		if batch.err != nil {
			if r.Src == r.Src.Masked() {
				t.Fatalf("%+v can't be encoded: %v", r, batch.err)
			}
			return
		}
		got, err := decodeRule(batch.message(0)[unix.NLMSG_HDRLEN:])
		got.OtherSelectors = r.OtherSelectors
		if err != nil || got != r {
			t.Fatalf("%+v came back as %+v: %v", r, got, err)
		}
	})
}

// FuzzVLANs: the kernel's list of VLANs is of one port, and no longer than its bytes.
func FuzzVLANs(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		err := decodeVLANs(b, func(p PortVLAN) {
			n++
			if p.Link != int(int32(binary.NativeEndian.Uint32(b[4:]))) {
				t.Fatalf("%+v", p)
			}
		})
		if err == nil && n*unix.NLA_HDRLEN > len(b) {
			t.Fatalf("%d entries in %d bytes", n, len(b))
		}
	})
}
