// SPDX-License-Identifier: Apache-2.0

package portmap

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/nft"
)

// checkConditions reads the conditions of either syntax. A condition that can't be carried out is
// refused rather than ignored.
func (k *Keys) checkConditions() *spec.Error {
	for family, list := range k.words {
		if len(list) == 0 {
			continue
		}
		read := nftablesConditions
		if iptablesSyntax(list) {
			read = iptablesConditions
		}
		cs, problem := read(list, family == 0)
		if problem == "" && nft.Alternatives(cs) > maxAlternatives {
			problem = "too many values: each combination of them is a rule"
		}
		if problem != "" {
			key := conditionKeys[family]
			return fault.Key(key, `invalid "`+key+`": `+problem)
		}
		k.conditions[family] = cs
	}
	return nil
}

// maxAlternatives bounds the combinations of conditions' values.
const maxAlternatives = 64

// iptablesSyntax recognizes the syntax by the first word, as the reference does.
func iptablesSyntax(list []string) bool {
	return strings.HasPrefix(list[0], "-") || strings.HasPrefix(list[0], "!")
}

// words are the rest of a condition's text.
type words []string

// next takes a word, "" at the end.
func (w *words) next() (word string) {
	if len(*w) > 0 {
		word, *w = (*w)[0], (*w)[1:]
	}
	return word
}

// took takes a word if it's next, and reports whether it was.
func (w *words) took(word string) bool {
	if len(*w) == 0 || (*w)[0] != word {
		return false
	}
	w.next()
	return true
}

const iptablesExpected = ": expected -s, -d, -i, -o or -m addrtype with --src-type or --dst-type, each with a value, and maybe ! before it"

// iptablesConditions reads words of iptables. Addresses and types may be lists, with commas.
func iptablesConditions(list []string, four bool) (cs []nft.Condition, problem string) {
	w := words(strings.Fields(strings.Join(list, " ")))
	for len(w) > 0 {
		not := w.took("!")
		option, value := w.next(), w.next()
		if value == "" {
			return nil, "a condition isn't complete" + iptablesExpected
		}
		c := nft.Condition{Not: not}
		switch option {
		case "-s", "--source", "--src":
			c.Field = nft.Source
		case "-d", "--destination", "--dst":
			c.Field = nft.Destination
		case "-i", "--in-interface":
			c.Field = nft.InLink
		case "-o", "--out-interface":
			c.Field = nft.OutLink
		case "--src-type":
			c.Field = nft.SourceType
		case "--dst-type":
			c.Field = nft.DestinationType
		case "-m", "--match":
			if value != "addrtype" && value != "comment" || not {
				return nil, strconv.Quote(option+" "+value) + " can't be carried by nftables here" + iptablesExpected
			}
			continue
		case "--comment":
			continue
		default:
			return nil, strconv.Quote(option) + " can't be carried by nftables here" + iptablesExpected
		}
		values := []string{value}
		switch c.Field {
		case nft.InLink, nft.OutLink:
			if name, ok := strings.CutSuffix(value, "+"); ok {
				values[0] = name + "*"
			}
		default:
			values = strings.Split(value, ",")
		}
		if not && len(values) > 1 && (c.Field == nft.Source || c.Field == nft.Destination) {
			return nil, "! isn't possible with several addresses, got " + strconv.Quote(value)
		}
		if cs, problem = appendCondition(cs, c, values, four); problem != "" {
			return nil, problem
		}
	}
	return cs, ""
}

const nftablesExpected = ": expected ip saddr, ip daddr, ip6 saddr, ip6 daddr, iifname, oifname, fib saddr type or fib daddr type, each with a value or a set of values, and maybe != before that"

// nftablesConditions reads words of the nft program, each with or without an operator.
func nftablesConditions(list []string, four bool) (cs []nft.Condition, problem string) {
	text := strings.Join(list, " ")
	for _, mark := range []string{"{", "}", ","} {
		text = strings.ReplaceAll(text, mark, " "+mark+" ")
	}
	w := words(strings.Fields(text))
	for len(w) > 0 {
		c, text, problem := nftablesField(&w, four)
		if problem != "" {
			return nil, problem
		}
		if w.took("!=") {
			c.Not = true
		} else {
			w.took("==")
		}
		values := nftablesValues(&w)
		if values == nil {
			return nil, strconv.Quote(text) + " has no value" + nftablesExpected
		}
		if cs, problem = appendCondition(cs, c, values, four); problem != "" {
			return nil, problem
		}
	}
	return cs, ""
}

// nftablesField reads the field that a condition looks at.
func nftablesField(w *words, four bool) (c nft.Condition, text, problem string) {
	w.took("meta")
	text = w.next()
	switch text {
	case "ip", "ip6":
		if (text == "ip") != four {
			return c, text, strconv.Quote(text) + " is of the other family"
		}
		text = "ip " + w.next()
	case "fib":
		text += " " + w.next() + " " + w.next()
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
	case "fib saddr type":
		c.Field = nft.SourceType
	case "fib daddr type":
		c.Field = nft.DestinationType
	default:
		return c, text, strconv.Quote(text) + " can't be carried here" + nftablesExpected
	}
	return c, text, ""
}

// nftablesValues reads a value, or a set of values. It returns nil if there is none.
func nftablesValues(w *words) (list []string) {
	if !w.took("{") {
		if value := w.next(); value != "" {
			list = append(list, strings.Trim(value, `"`))
		}
		return list
	}
	for {
		switch value := w.next(); value {
		case "":
			return nil
		case "}":
			return list
		case ",":
		default:
			list = append(list, strings.Trim(value, `"`))
		}
	}
}

// appendCondition adds a condition with its values. A packet must have one of them or, if the
// condition says not, none of them.
func appendCondition(cs []nft.Condition, c nft.Condition, values []string, four bool) (_ []nft.Condition, problem string) {
	var or []nft.Condition
	for _, value := range values {
		one := c
		if problem := setCondition(&one, value, four); problem != "" {
			return nil, problem
		}
		or = append(or, one)
	}
	if c.Not {
		return append(cs, or...), ""
	}
	or[0].Or = or[1:]
	return append(cs, or[0]), ""
}

// setCondition reads a condition's value.
func setCondition(c *nft.Condition, value string, four bool) (problem string) {
	switch c.Field {
	case nft.InLink, nft.OutLink:
		if problem := names.LinkProblem(strings.TrimSuffix(value, "*")); problem != "" {
			return problem + ", got " + strconv.Quote(value)
		}
		c.Link = value
		return ""
	case nft.SourceType, nft.DestinationType:
		if c.Type = strings.ToLower(value); !slices.Contains(nft.AddressTypes(), c.Type) {
			return "expected a type of address (" + strings.Join(nft.AddressTypes(), ", ") + "), got " + strconv.Quote(value)
		}
		return ""
	}
	p, ok := parseMasked(value)
	if !ok {
		return "expected an IP address or prefix, got " + strconv.Quote(value)
	}
	if p.Addr().Is4() != four {
		return "expected an address of the key's family, got " + strconv.Quote(value)
	}
	c.Prefix = p
	return ""
}

// parseMasked reads an address, or a prefix whose length may be a mask.
func parseMasked(value string) (netip.Prefix, bool) {
	if p, ok := jsontext.ParsePrefix(value); ok {
		return p, true
	}
	text, mask, masked := strings.Cut(value, "/")
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	if !masked {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	m, err := netip.ParseAddr(mask)
	if err != nil || m.Is4() != a.Is4() {
		return netip.Prefix{}, false
	}
	ones, bits := net.IPMask(m.AsSlice()).Size()
	return netip.PrefixFrom(a, ones), bits != 0
}
