// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// fuzzSets has a set of each kind of key.
var fuzzSets = [...]set{family4.masqueraded(), family6.masqueraded(), family4.own(24), family6.own(64), guarded, allowed,
	portGroup{family4, ""}.ports(TCP, false), portGroup{family6, ""}.ports(TCP, false), family4.published(), family4.hairpin(24, usualBit), portGroup{family4, ""}.snat(false, usualBit)}

// corpus returns what the kernel really answers, as seeds: elements, rules, a generation.
func corpus(t testing.TB) (elements, rules [][]byte) {
	t.Helper()
	c := dial(t, nstest.New(t, "host"))
	must(t, c.Attach(guardedBy(attachment("c1", "10.1.0.2/24", "fd00:1::2/64"), "swc1", "02:00:00:00:00:01")))
	publish(t, c, publication("c1", "10.1.0.2/24 fd00:1::2/64", 80))
	for _, s := range fuzzSets {
		must(t, c.dump(listElements(s), func(b []byte) error {
			// The kernel ends a list with a message without elements.
			return decodeElements(b, s, func(element) { elements = append(elements, bytes.Clone(b)) })
		}))
	}
	for _, r := range []struct {
		table table
		chain string
	}{{masqueradeTable, postrouting}, {guardTable, prerouting}} {
		must(t, c.dump(listRules(r.table, r.chain), func(b []byte) error { rules = append(rules, bytes.Clone(b)); return nil }))
	}
	if len(elements) != len(fuzzSets) || len(rules) != 5 {
		t.Fatalf("got %d lists of elements and %d rules, want %d and 5", len(elements), len(rules), len(fuzzSets))
	}
	return elements, rules
}

// FuzzElements: what decodes has a key of its set's length and, encoded again, decodes to the same.
func FuzzElements(f *testing.F) {
	elements, _ := corpus(f)
	for i, b := range elements {
		f.Add(b, uint8(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		s := fuzzSets[int(n)%len(fuzzSets)]
		var es []element
		if decodeElements(data, s, func(e element) { es = append(es, e) }) != nil {
			return
		}
		for _, e := range es {
			if len(e.key) != s.key.len() {
				t.Fatalf("key of %d bytes in %s", len(e.key), s.name)
			}
			// None of these may panic, whatever it is that it was given.
			_, _ = e.guard()
			_, _ = e.prefix()
			_, _ = e.published()
			_, _, _ = e.mapping()
			_ = e.followers(nil)
			_ = e.String()
			var b batch
			b.create([]element{e})
			var again []element
			must(t, decodeElements(b.messages()[0].Data[genMessageLen:], s, func(e element) { again = append(again, e) }))
			if len(again) != 1 || again[0].comment != e.comment || !bytes.Equal(again[0].key, e.key) {
				t.Fatalf("%v became %v", e, again)
			}
		}
		_ = senders(es, "")
	})
}

// FuzzRule: expressions compare equal to themselves, and nothing is read past its slice.
func FuzzRule(f *testing.F) {
	_, rules := corpus(f)
	for _, b := range rules {
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, data, other []byte) {
		r, err := decodeRule(data)
		if err != nil {
			return
		}
		walk := attributes{rest: r.exprs}
		for walk.next() {
		}
		if walk.err == nil && expressionsOf(r.exprs) && !sameExpressions(r.exprs, r.exprs) {
			t.Error("a rule differs from itself")
		}
		o, err := decodeRule(other)
		if err == nil {
			_ = sameExpressions(r.exprs, o.exprs)
		}
	})
}

// expressionsOf says whether each value is a whole list of different attributes, as the kernel's
// are.
func expressionsOf(exprs []byte) bool {
	for e := (attributes{rest: exprs}); e.next(); {
		data, err := attribute(e.value, unix.NFTA_EXPR_DATA)
		seen := map[int]bool{}
		a := attributes{rest: data}
		for a.next() {
			if seen[a.kind] {
				return false
			}
			seen[a.kind] = true
		}
		if err != nil || a.err != nil {
			return false
		}
	}
	return true
}

// FuzzReply decodes what may stand in a datagram: refusals, acks, generations.
func FuzzReply(f *testing.F) {
	f.Add(uint16(netlink.Error), uint16(0), []byte{0, 0, 0, 0})
	f.Add(uint16(netlink.Error), uint16(netlink.AcknowledgeTLVs), append([]byte{0xfe, 0xff, 0xff, 0xff, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 9, 0, 1, 0, 'n', 'o', 't', '!', 0, 0, 0, 0))
	f.Add(uint16(netlink.Done), uint16(netlink.Multi), []byte{0xff, 0xff, 0xff, 0xff})
	f.Add(uint16(messageType(unix.NFT_MSG_NEWGEN)), uint16(0), []byte{0, 0, 0, 0, 8, 0, 1, 0, 0, 0, 0, 7})
	f.Fuzz(func(t *testing.T, kind, flags uint16, data []byte) {
		m := netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.HeaderFlags(flags)}, Data: data}
		errno, reason := nlsock.Answer(m)
		if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done && errno == 0 {
			t.Error("what's no answer was taken for an ack")
		}
		if bytes.IndexByte([]byte(reason), 0) >= 0 {
			t.Errorf("a zero byte in %q", reason)
		}
		_ = describe(m)
		if r, err := decodeReply(m); err == nil && r.errno == 0 {
			_, _ = decodeGeneration(r.data)
		}
		if m, rest, err := nlsock.Parse(data); err == nil && len(m.Data)+len(rest) > len(data) {
			t.Error("more came out than went in")
		}
	})
}

// FuzzSubnet: a set's name is one subnet's, and what isn't a name is nobody's.
func FuzzSubnet(f *testing.F) {
	for _, s := range []string{"masq4-10.1.0.0/24", "masq6-fd00-1--/64", "masq6---ffff-1.2.3.0/120", "masq4-10.1.0.1/24", "masq6---/0", "own4-24", "own6-024", "masq4", "hairpin4-24.14", "tcp4-a65fc8ea4250b083", "hostsnat6-a65fc8ea4250b083.3", "hairpin4-10.1.0.0/24", "hostports6-a65fc8ea4250b083"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := oldSubnet(s)
		if ok && (!p.IsValid() || oldMasqueradeSet(p).name != s || p != p.Masked()) {
			t.Errorf("%q is %v, whose name is %q", s, p, oldMasqueradeSet(p).name)
		}
		if x, ok := oldPortSet(s); ok && x.name != s {
			t.Errorf("%q is %q", s, x.name)
		}
		if r, ok := roleOf(s); ok && r.set().name != s {
			t.Errorf("%q is %q", s, r.set().name)
		}
	})
}

// FuzzOwner: comments are at most as long as the nft program takes, and name one owner.
func FuzzOwner(f *testing.F) {
	f.Add("mynet", "c1", "eth0")
	f.Add("a~b", string(bytes.Repeat([]byte("x"), 300)), "eth0")
	f.Fuzz(func(t *testing.T, network, container, ifName string) {
		o := Owner{network, container, ifName}
		if o.check() != nil {
			return
		}
		text := o.comment()
		back, ok := parseOwner(text)
		if !ok || back != o.Short() || back.comment() != text || len(text) > maxOwner {
			t.Errorf("%q became %q, and that %q", o, text, back)
		}
		if len(o.String()) <= maxOwner && len(network) <= maxNetwork && back != o {
			t.Errorf("%q was cut without need", o)
		}
	})
}

func FuzzComment(f *testing.F) {
	f.Add([]byte("\x00\x03c1\x00"))
	f.Add([]byte("\x01\x04\x00\x00\x00\x01\x00\x03c1\x00"))
	f.Add([]byte("\x00\xffc1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s := comment(data); len(s)+2 > len(data) && s != "" {
			t.Errorf("%q holds no %q", data, s)
		}
	})
}
