// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestRecordsSurviveTheirText(t *testing.T) {
	long := strings.Repeat("a", 900)
	for _, o := range []Owner{
		owner("c1"), {ContainerID: "c1"}, owner("-c1"), owner("ä\nö"), owner("a:b"), owner("a/b"),
		{ContainerID: "c1", IfName: "a b"}, {ContainerID: "c1", IfName: "a:b"}, owner(long), owner("@boot.x"), owner(".."),
	} {
		full := evidence
		full.Owner, full.Addrs = o, []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2")}
		for _, r := range []Record{full, {Owner: o}, {Owner: o, Addrs: full.Addrs[:1], MAC: net.HardwareAddr{0, 1, 2, 3, 4, 5, 6, 7}}} {
			text, err := r.text()
			if err != nil {
				t.Errorf("%v: %v", r, err)
				continue
			}
			name := recordName(o)
			if strings.HasPrefix(name, "@") || strings.ContainsAny(name, "/\x00") || len(name) > maxName {
				t.Errorf("%q can't name a record", name)
			}
			got, ok := parseRecord(name, text)
			if !ok || !reflect.DeepEqual(got, r) {
				t.Errorf("%+v became %+v, %v", r, got, ok)
			}
			if _, ok := parseRecord(recordName(owner("other")), text); ok != o.plain() {
				t.Errorf("the record of %v under another name is taken: %v", o, ok)
			}
		}
	}
	r := Record{Owner: owner("c1")}
	for range 500 {
		r.Addrs = append(r.Addrs, netip.MustParseAddr("10.0.0.2"))
	}
	if _, err := r.text(); err == nil {
		t.Error("a record longer than a link's text was taken")
	}
}

func TestLeaseContent(t *testing.T) {
	tests := []struct {
		content string
		owner   Owner
		form    leaseForm
	}{
		{"c1\r\neth0", owner("c1"), wholeLease},
		{"  c1\r\neth0\n", owner("c1"), wholeLease},
		{"c1", Owner{ContainerID: "c1"}, oldLease},
		{"c1\n", Owner{ContainerID: "c1"}, oldLease},
		{"c1\r\n", Owner{ContainerID: "c1"}, oldLease},
		{"", Owner{}, tornLease},
		{" \r\n", Owner{}, tornLease},
		{"\x00\x00\x00", Owner{}, tornLease},
		{"c1 \r\neth0", Owner{}, foreignLease},
		{strings.Repeat("a", maxLease+1), Owner{}, foreignLease},
	}
	for _, tt := range tests {
		if o, form := parseLease(tt.content); o != tt.owner || form != tt.form {
			t.Errorf("%q is %v, %v; want %v, %v", tt.content, o, form, tt.owner, tt.form)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("c1:eth0", "1 10.0.0.2 - 0 - 0 -")
	f.Add("#00", `1 10.0.0.2,::1 b 1 veth 2 02:00:00:00:00:0f "a\r\nb"`)
	f.Fuzz(func(t *testing.T, name, text string) {
		r, ok := parseRecord(name, text)
		if !ok {
			return
		}
		again, err := r.text()
		if err != nil {
			return // quoting made it longer
		}
		if got, ok := parseRecord(name, again); !ok || !reflect.DeepEqual(got, r) {
			t.Errorf("%q %q read as %+v, then as %+v", name, text, r, got)
		}
	})
}

func FuzzLease(f *testing.F) {
	for _, s := range []string{"c1\r\neth0", "c1", "", "\x00", "a\r\nb\r\nc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		o, form := parseLease(content)
		if form != wholeLease && form != oldLease {
			return
		}
		if o.content() != strings.TrimSpace(content) {
			t.Errorf("%q is %q by host-local's match", content, o.content())
		}
		if got, f := parseLease(o.content()); got != o || f != form {
			t.Errorf("%q read as %v, then as %v", content, o, got)
		}
	})
}
