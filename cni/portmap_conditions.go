// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"
	"strings"

	"github.com/swiftcni/swiftcni/nft"
)

// checkConditions reads the simple conditions of either syntax. What is left is refused rather than ignored.
func (k *portmapKeys) checkConditions() *Error {
	for family, words := range k.words {
		if len(words) == 0 {
			continue
		}
		parse := nftablesConditions
		if iptablesSyntax(words) {
			parse = iptablesConditions
		}
		cs, problem := parse(words, family == 0)
		if problem != "" {
			key := conditionKeys[family]
			return invalidKey(key, `invalid "`+key+`": `+problem)
		}
		k.conditions[family] = cs
	}
	return nil
}

// iptablesSyntax tells the syntax by the first word, as the reference does.
func iptablesSyntax(words []string) bool {
	return strings.HasPrefix(words[0], "-") || strings.HasPrefix(words[0], "!")
}

// iptablesConditions reads words of iptables: -s, -d, -i and -o, each with "!" before it or not.
func iptablesConditions(words []string, four bool) (cs []nft.Condition, problem string) {
	const expected = ": expected -s, -d, -i or -o, each with one value, and maybe ! before it"
	words = strings.Fields(strings.Join(words, " "))
	for len(words) > 0 {
		var c nft.Condition
		if words[0] == "!" {
			c.Not, words = true, words[1:]
		}
		if len(words) < 2 {
			return nil, "a condition isn't complete" + expected
		}
		switch words[0] {
		case "-s", "--source", "--src":
			c.Field = nft.Source
		case "-d", "--destination", "--dst":
			c.Field = nft.Destination
		case "-i", "--in-interface":
			c.Field = nft.InLink
		case "-o", "--out-interface":
			c.Field = nft.OutLink
		default:
			return nil, quote(words[0]) + " can't be carried by nftables here" + expected
		}
		value := words[1]
		if c.Field == nft.InLink || c.Field == nft.OutLink {
			if name, any := strings.CutSuffix(value, "+"); any {
				value = name + "*"
			}
		}
		if problem := setCondition(&c, value, four); problem != "" {
			return nil, problem
		}
		cs, words = append(cs, c), words[2:]
	}
	return cs, ""
}

// nftablesConditions reads words of the nft program: ip saddr, ip daddr (or ip6), iifname and oifname, each with
// an operator or not.
func nftablesConditions(words []string, four bool) (cs []nft.Condition, problem string) {
	const expected = ": expected ip saddr, ip daddr, ip6 saddr, ip6 daddr, iifname or oifname, each with one value, and maybe != before that"
	words = strings.Fields(strings.Join(words, " "))
	for len(words) > 0 {
		var c nft.Condition
		text := words[0]
		if text == "meta" && len(words) > 1 {
			words = words[1:]
			text = words[0]
		}
		words = words[1:]
		if (text == "ip" || text == "ip6") && len(words) > 0 {
			if (text == "ip") != four {
				return nil, quote(text) + " is of the other family"
			}
			text, words = "ip "+words[0], words[1:]
		}
		switch text {
		case "ip saddr":
			c.Field = nft.Source
		case "ip daddr":
			c.Field = nft.Destination
		case "iifname":
			c.Field = nft.InLink
		case "oifname":
			c.Field = nft.OutLink
		default:
			return nil, quote(text) + " can't be carried here" + expected
		}
		if len(words) > 0 && (words[0] == "!=" || words[0] == "==") {
			c.Not, words = words[0] == "!=", words[1:]
		}
		if len(words) == 0 {
			return nil, quote(text) + " has no value" + expected
		}
		if problem := setCondition(&c, strings.Trim(words[0], `"`), four); problem != "" {
			return nil, problem
		}
		cs, words = append(cs, c), words[1:]
	}
	return cs, ""
}

// setCondition reads a condition's value.
func setCondition(c *nft.Condition, value string, four bool) (problem string) {
	if c.Field == nft.InLink || c.Field == nft.OutLink {
		if problem := ifNameProblem(strings.TrimSuffix(value, "*")); problem != "" {
			return problem + ", got " + quote(value)
		}
		c.Link = value
		return ""
	}
	p, ok := parsePrefix(value)
	if !ok {
		a, err := netip.ParseAddr(value)
		if err != nil || a.Zone() != "" {
			return "expected an IP address or prefix, got " + quote(value)
		}
		a = a.Unmap()
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4() != four {
		return "expected an address of the key's family, got " + quote(value)
	}
	c.Prefix = p
	return ""
}
