// SPDX-License-Identifier: Apache-2.0

package pattern

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// Every expression that we read has the same meaning for regexp.
func FuzzPattern(f *testing.F) {
	for _, text := range []string{"", "net.core.somaxconn", `^net\.ipv4\.conf\.(all|IFNAME)\.[a-z_]+$`, "a*b|c+d?", "x{2}y{2,}z{1,3}", "(a*)*b", "(?:a|b)*?c", "[^a-c]-[-x]", `[\d.]\w\s\-`,
		"a**", "a{", "[a", "(a", "a)", "[]", "[z-a]", "\\", "^*", "$+", "x{0}", "()*", "(|a)+", "((a?){3}){2}$"} {
		f.Add(text, "net.ipv4.conf.IFNAME.arp_filter")
		f.Add(text, "aab xxyyzz c9-_")
	}
	f.Fuzz(func(t *testing.T, text, s string) {
		p, err := Parse(text)
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
		compare(t, p, r, s)
	})
}

// compare holds a pattern against regexp. Only what takes too many steps may differ, and then it
// matches nothing.
func compare(t *testing.T, p Pattern, r *regexp.Regexp, s string) {
	t.Helper()
	got, decided := p.match(s)
	if want := r.MatchString(s); got != want && (decided || got) {
		t.Errorf("%q on %q: %v, want %v", r, s, got, want)
	}
}

// Expressions made at random, of all that is read, mean the same as in regexp.
func TestRandomPatternsAreRegexps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "b", "c", ".", `\.`, `\d`, `\w`, `\s`, "[ab]", "[^a-c]", "[a.-]", `[\d_]`, "^", "$", "|", "(", "(?:", ")", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "-", "1", "_"}
	letters := []string{"a", "b", "c", ".", "1", "_", "-", " "}
	pick := func(from []string, n int) (s string) {
		for range n {
			s += from[rnd.IntN(len(from))]
		}
		return s
	}
	read := 0
	for range 100_000 {
		text := pick(parts, 1+rnd.IntN(8))
		p, err := Parse(text)
		if err != nil {
			continue
		}
		r, err := regexp.Compile(text)
		if err != nil {
			t.Fatalf("%q: regexp says %v", text, err)
		}
		read++
		for range 3 {
			compare(t, p, r, pick(letters, rnd.IntN(7)))
		}
	}
	if read < 10_000 {
		t.Errorf("only %d expressions were read", read)
	}
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
		p, err := Parse(x.text)
		if err != nil || regexp.MustCompile(x.text).MatchString(x.s) != x.want {
			t.Fatalf("%q: %v", x.text, err)
		}
		if p.Match(x.s) != x.want {
			t.Errorf("%q on %q: want %v", x.text, x.s, x.want)
		}
	}
	for _, text := range []string{"(?i)a", `\pL`, "a**", "[[:alpha:]]", `\bx`, "é"} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	// A matcher that explodes would never end.
	p, err := Parse("^(a*)*(a*)*(a*)*b$")
	if err != nil || p.Match(strings.Repeat("a", 200)) {
		t.Error("matches", err)
	}
}
