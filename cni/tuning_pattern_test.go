// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"regexp"
	"strings"
	"testing"
)

// What we read, regexp reads in the same way.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{"", "net.core.somaxconn", `^net\.ipv4\.conf\.(all|IFNAME)\.[a-z_]+$`, "a*b|c+d?", "x{2}y{2,}z{1,3}", "(a*)*b", "(?:a|b)*?c", "[^a-c]-[-x]", `[\d.]\w\s\-`,
		"a**", "a{", "[a", "(a", "a)", "[]", "[z-a]", "\\", "^*", "$+", "x{0}", "()*", "(|a)+", "((a?){3}){2}$"} {
		f.Add(text, "net.ipv4.conf.IFNAME.arp_filter")
		f.Add(text, "aab xxyyzz c9-_")
	}
	f.Fuzz(func(t *testing.T, text, s string) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		r, err := regexp.Compile(text)
		if err != nil {
			t.Fatalf("%q: regexp says %v", text, err)
		}
		if len(s) > 40 || strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 }) {
			return
		}
		// A match that takes too many steps is none.
		if got, want := p.match(s), r.MatchString(s); got != want && got {
			t.Errorf("%q on %q: %v, want %v", text, s, got, want)
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, x := range []struct {
		text, s string
		want    bool
	}{
		{"^net.core.somaxconn$", "net.core.somaxconn", true},
		{"^net.core.somaxconn$", "net.core.somaxconn.x", false},
		{"core", "net.core.somaxconn", true},
		{`^net\.ipv4\.conf\.(all|IFNAME)\.[a-z_]+$`, "net.ipv4.conf.IFNAME.arp_filter", true},
		{`^net\.ipv4\.conf\.(all|IFNAME)\.[a-z_]+$`, "net.ipv4.conf.lo.arp_filter", false},
		{`^net\.ipv4\..*$`, "net.ipv6.x", false},
		{`^a{2,3}$`, "aaaa", false},
		{`^a{2,3}$`, "aaa", true},
		{"^(a|ab)(c|bcd)$", "abcd", true},
		{"^$", "", true},
		{`^[^.]+\.x$`, "net.x", true},
	} {
		p, err := parsePattern(x.text)
		if err != nil || regexp.MustCompile(x.text).MatchString(x.s) != x.want {
			t.Fatalf("%q: %v", x.text, err)
		}
		if p.match(x.s) != x.want {
			t.Errorf("%q on %q: want %v", x.text, x.s, x.want)
		}
	}
	for _, text := range []string{"(?i)a", `\pL`, "a**", "[[:alpha:]]", `\bx`, "é"} {
		if _, err := parsePattern(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	// A matcher that explodes would never end.
	p, err := parsePattern("^(a*)*(a*)*(a*)*b$")
	if err != nil || p.match(strings.Repeat("a", 200)) {
		t.Error("matches", err)
	}
}
