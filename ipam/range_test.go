// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"strings"
	"testing"
)

// parseRange reads "SUBNET START END GATEWAY", "-" for what's unset.
func parseRange(t testing.TB, text string) Range {
	t.Helper()
	f := append(strings.Fields(text), "-", "-", "-")
	r := Range{}
	if f[0] != "-" {
		r.Subnet = netip.MustParsePrefix(f[0])
	}
	for i, a := range []*netip.Addr{&r.Start, &r.End, &r.Gateway} {
		if f[i+1] != "-" {
			*a = netip.MustParseAddr(f[i+1])
		}
	}
	return r
}

func TestCanonicalRange(t *testing.T) {
	tests := []struct{ in, want string }{
		{"192.0.2.0/24", "192.0.2.1-192.0.2.254 192.0.2.1"},
		{"192.0.2.0/30", "192.0.2.1-192.0.2.2 192.0.2.1"},
		{"10.0.0.0/8", "10.0.0.1-10.255.255.254 10.0.0.1"},
		{"0.0.0.0/0", "0.0.0.1-255.255.255.254 0.0.0.1"},
		{"2001:db8::/64", "2001:db8::1-2001:db8::ffff:ffff:ffff:ffff 2001:db8::1"},
		{"2001:db8::/126", "2001:db8::1-2001:db8::3 2001:db8::1"},
		{"2001:db8::/67", "2001:db8::1-2001:db8::1fff:ffff:ffff:ffff 2001:db8::1"},
		{"192.0.2.0/24 192.0.2.0 192.0.2.255", "192.0.2.0-192.0.2.255 192.0.2.1"},
		{"192.0.2.0/24 192.0.2.40 192.0.2.50 198.51.100.7", "192.0.2.40-192.0.2.50 198.51.100.7"},
		{"192.0.2.0/24 ::ffff:192.0.2.40 ::ffff:192.0.2.50 ::ffff:192.0.2.3", "192.0.2.40-192.0.2.50 192.0.2.3"},
		{"-", "IP <nil> not v4 nor v6"},
		{"192.0.2.0/31", "Network 192.0.2.0/31 too small to allocate from"},
		{"192.0.2.1/32", "Network 192.0.2.1/32 too small to allocate from"},
		{"2001:db8::/127", "Network 2001:db8::/127 too small to allocate from"},
		{"::ffff:192.0.2.0/120", "IPNet IP and Mask version mismatch"},
		{"::ffff:192.0.2.0/127", "Network 192.0.2.0/31 too small to allocate from"},
		{"192.0.2.12/24", "Network has host bits set. For a subnet mask of length 24 the network address is 192.0.2.0"},
		{"192.0.2.0/24 192.0.3.0", "RangeStart 192.0.3.0 not in network 192.0.2.0/24"},
		{"192.0.2.0/24 2001:db8::1", "RangeStart 2001:db8::1 not in network 192.0.2.0/24"},
		{"192.0.2.0/24 192.0.2.255", "RangeStart 192.0.2.255 is after RangeEnd 192.0.2.254 in network 192.0.2.0/24"},
		{"192.0.2.0/24 192.0.2.50 192.0.2.40", "RangeStart 192.0.2.50 not in network 192.0.2.0/24"},
		{"192.0.2.0/24 - 192.0.4.0", "RangeEnd 192.0.4.0 not in network 192.0.2.0/24"},
		{"192.0.2.0/24 192.0.2.9 2001:db8::1", "RangeEnd 2001:db8::1 not in network 192.0.2.0/24"},
		{"192.0.2.0/24 - 192.0.2.0", "RangeEnd 192.0.2.0 not in network 192.0.2.0/24"},
	}
	for _, tt := range tests {
		r, err := parseRange(t, tt.in).Canonical()
		got := r.String() + " " + r.Gateway.String()
		if err != nil {
			got = err.Error()
			if _, ok := as[*RangeError](err); !ok {
				t.Errorf("%s: %T is no RangeError", tt.in, err)
			}
		}
		if got != tt.want {
			t.Errorf("%s gave %q, want %q", tt.in, got, tt.want)
		}
		if err == nil {
			if again, err := r.Canonical(); err != nil || again != r {
				t.Errorf("%s: canonical twice gave %v, %v", tt.in, again, err)
			}
		}
	}
}

func TestCanonicalSets(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", "no IP ranges specified"},
		{"10.1.0.0/16;", "invalid range set 1: empty range set"},
		{"10.1.0.0/16;10.2.0.0/31", "invalid range set 1: Network 10.2.0.0/31 too small to allocate from"},
		{"10.1.0.0/16,2001:db8::/64", "invalid range set 0: mixed address families"},
		{"10.1.0.0/22,10.1.2.0/24", "invalid range set 0: subnets 10.1.0.1-10.1.3.254 and 10.1.2.1-10.1.2.254 overlap"},
		{"10.1.0.0/24 10.1.0.5 10.1.0.9,10.1.0.0/24 10.1.0.10 10.1.0.11", "10.1.0.5-10.1.0.9,10.1.0.10-10.1.0.11"},
		{"10.1.0.0/24 10.1.0.5 10.1.0.9,10.1.0.0/24 10.1.0.9 10.1.0.11", "invalid range set 0: subnets 10.1.0.5-10.1.0.9 and 10.1.0.9-10.1.0.11 overlap"},
		{"10.1.0.0/16;10.0.0.0/8", "range set 0 overlaps with 1"},
		{"10.1.0.0/16;2001:db8::/64;10.3.0.0/16;2001:db8::/60", "range set 1 overlaps with 3"},
		{"10.1.0.0/16;2001:db8::/126", "10.1.0.1-10.1.255.254;2001:db8::1-2001:db8::3"},
	}
	for _, tt := range tests {
		var in []RangeSet
		for text := range strings.SplitSeq(tt.in, ";") {
			var set RangeSet
			for r := range strings.SplitSeq(text, ",") {
				if r != "" {
					set = append(set, parseRange(t, r))
				}
			}
			if tt.in != "" {
				in = append(in, set)
			}
		}
		sets, err := CanonicalSets(in)
		var got []string
		for _, s := range sets {
			got = append(got, s.String())
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if strings.Join(got, ";") != tt.want {
			t.Errorf("%s gave %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestWalkGoesRoundOnce(t *testing.T) {
	tests := []struct{ set, last, want string }{
		{"10.0.0.0/29", "", "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"},
		{"10.0.0.0/29", "10.0.0.5", "10.0.0.6 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5"},
		{"10.0.0.0/29", "10.0.0.6", "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"},
		{"10.0.0.0/29", "10.0.0.1", "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"},
		{"10.0.0.0/29", "10.0.0.7", "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"},
		{"10.0.0.0/29", "2001:db8::1", "10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6"},
		{"10.0.0.0/30,10.0.1.0/30,10.0.2.0/30", "10.0.0.2", "10.0.1.2 10.0.2.2 10.0.0.2"},
		{"10.0.0.0/30,10.0.1.0/30,10.0.2.0/30", "10.0.2.2", "10.0.0.2 10.0.1.2 10.0.2.2"},
		{"10.0.0.0/29 10.0.0.1 10.0.0.1", "", ""},
		{"10.0.0.0/29 10.0.0.4 10.0.0.4", "10.0.0.4", "10.0.0.4"},
		{"10.0.0.0/30 - - 10.0.0.9,10.0.0.8/30 - - 10.0.0.1", "10.0.0.1", "10.0.0.2 10.0.0.9 10.0.0.10 10.0.0.1"},
		{"255.255.255.248/29 255.255.255.254 255.255.255.255", "", "255.255.255.254 255.255.255.255"},
	}
	for _, tt := range tests {
		var set RangeSet
		for r := range strings.SplitSeq(tt.set, ",") {
			set = append(set, parseRange(t, r))
		}
		set, err := set.Canonical()
		if err != nil {
			t.Fatal(err)
		}
		last, _ := netip.ParseAddr(tt.last)
		w := newWalk(set, last)
		var got []string
		for a, rng, ok := w.next(); ok; a, rng, ok = w.next() {
			if !set[rng].contains(a) {
				t.Errorf("%s: %s isn't in range %d", tt.set, a, rng)
			}
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s after %q went %q, want %q", tt.set, tt.last, got, tt.want)
		}
	}
}

func TestResolvConf(t *testing.T) {
	dns, err := ParseResolvConf([]byte("# c\n; c\n\nnameserver 192.0.2.1 ignored\r\n\tnameserver\t192.0.2.2\nnameserver\n" +
		"domain a\ndomain b # said last\nsearch x y\nsearch z\noptions ndots:2 edns0\noptions rotate\nsortlist 10.0.0.0\nNameserver 1.1.1.1\nsearch"))
	want := DNS{
		Nameservers: []string{"192.0.2.1", "192.0.2.2"},
		Domain:      "b",
		Search:      []string{"x", "y", "z"},
		Options:     []string{"ndots:2", "edns0", "rotate"},
	}
	if err != nil || !equalDNS(dns, want) {
		t.Errorf("got %+v, %v", dns, err)
	}
	if _, err := ParseResolvConf([]byte("search " + strings.Repeat("a", maxResolvLine))); err == nil {
		t.Error("a line that host-local refuses was taken")
	}
}

func equalDNS(a, b DNS) bool {
	join := func(d DNS) string {
		return strings.Join([]string{strings.Join(d.Nameservers, " "), d.Domain, strings.Join(d.Search, " "), strings.Join(d.Options, " ")}, "\n")
	}
	return join(a) == join(b)
}

func FuzzResolvConf(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch a b\n"))
	f.Add([]byte("\x00\xffdomain \u2003x\roptions a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dns, err := ParseResolvConf(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, n := range dns.Nameservers {
			again.WriteString("nameserver " + n + "\n")
		}
		if dns.Domain != "" {
			again.WriteString("domain " + dns.Domain + "\n")
		}
		for _, s := range dns.Search {
			again.WriteString("search " + s + "\n")
		}
		for _, o := range dns.Options {
			again.WriteString("options " + o + "\n")
		}
		if dns2, err := ParseResolvConf([]byte(again.String())); err != nil || !equalDNS(dns, dns2) {
			t.Errorf("%q read as %+v, then as %+v", text, dns, dns2)
		}
	})
}
