// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"github.com/swiftcni/swiftcni/cni"
)

// resolvConf is the text of a resolv.conf (resolv.conf(5)) with the content of d, or "" if d is
// empty. A value that would become more than one word is an error: it could smuggle in other lines.
func resolvConf(d cni.DNS) (string, error) {
	var b strings.Builder
	for _, s := range d.Nameservers {
		// A zone ("%eth0") may hold anything.
		if _, err := netip.ParseAddr(s); err != nil || !isWord(s) {
			return "", fmt.Errorf("dns: name server %q is not an IP address", s)
		}
		b.WriteString("nameserver " + s + "\n")
	}
	var domain []string
	if d.Domain != "" {
		domain = []string{d.Domain}
	}
	for _, line := range []struct {
		keyword string
		words   []string
	}{
		{"domain", domain},
		// It comes after domain. Resolvers use the last of the two, and CNI prefers search.
		{"search", d.Search},
		{"options", d.Options},
	} {
		if len(line.words) == 0 {
			continue
		}
		for _, w := range line.words {
			if !isWord(w) {
				return "", fmt.Errorf("dns: %s %q isn't possible in resolv.conf", line.keyword, w)
			}
		}
		b.WriteString(line.keyword + " " + strings.Join(line.words, " ") + "\n")
	}
	return b.String(), nil
}

func isWord(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
	})
}
