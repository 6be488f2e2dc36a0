// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"
)

// A reader walks one JSON text. A value of the wrong kind is noted, the first one with its path, and passed over: so ADD
// can name what is wrong, and DEL can still use the rest. A text that isn't JSON ends the walk. As in encoding/json,
// keys match in any case, the last of equal keys wins, and null sets nothing.
type reader struct {
	s     scanner
	path  []byte // of the value at hand, such as "ipam.ranges[0][1].subnet"
	key   string // of the value at hand, as it's written
	depth int
	first *Error

	keeps bool // a result is read: members that aren't known stay with it
	lax   bool // routes are taken whatever they say
}

func newReader(text []byte, path string) *reader {
	return &reader{s: scanner{text: text}, path: append(make([]byte, 0, 64), path...)}
}

// end makes sure that nothing follows the value that was read.
func (r *reader) end() error {
	if r.s.peek(); r.s.pos < len(r.s.text) {
		return r.s.wrong("after top-level value")
	}
	return nil
}

// note keeps the first error about a value; the text stays readable.
func (r *reader) note(e *Error) {
	if r.first == nil {
		r.first = e
	}
}

// invalid notes that the value at hand isn't what was expected.
func (r *reader) invalid(expected string) {
	if len(r.path) == 0 {
		r.note(invalidKey("", expected))
		return
	}
	r.note(invalidKey(string(r.path), `invalid "`+string(r.path)+`": `+expected))
}

// kind is how a value of a kind begins; all numbers are of kind '0', and booleans 't'.
func (r *reader) kind() byte {
	switch c := r.s.peek(); {
	case c == '-' || isDigit(c):
		return '0'
	case c == 'f':
		return 't'
	default:
		return c
	}
}

// is reports whether the value at hand has the kind; null is passed over silently, any other kind with a note.
func (r *reader) is(kind byte, expected string) (bool, error) {
	k := r.kind()
	if k == kind {
		return true, nil
	}
	err := r.pass()
	if err == nil && k != 'n' {
		r.invalid("expected " + expected + ", got " + kindName(k))
	}
	return false, err
}

// pass passes over the value at hand.
func (r *reader) pass() error { return r.s.skip(r.depth) }

func kindName(kind byte) string {
	switch kind {
	case 't':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "null"
}

// object reads an object; field gets each key in lower case and must read the value or return without
// having touched it, which passes it over.
func (r *reader) object(field func(key string) error) error {
	ok, err := r.is('{', "an object")
	if !ok || err != nil {
		return err
	}
	return r.nested(func() error {
		return r.s.members(func() error {
			name, err := r.s.str()
			if err != nil {
				return err
			}
			if err := r.s.colon(); err != nil {
				return err
			}
			was := len(r.path)
			if was > 0 {
				r.path = append(r.path, '.')
			}
			r.path = append(r.path, name...)
			r.key = name
			r.s.peek()
			start := r.s.pos
			if err := field(strings.ToLower(name)); err != nil {
				return err
			}
			if r.s.pos == start {
				if err := r.pass(); err != nil {
					return err
				}
			}
			r.path = r.path[:was]
			return nil
		}, '}')
	})
}

// nested goes one level down.
func (r *reader) nested(walk func() error) error {
	if r.depth++; r.depth > maxDepth {
		return r.s.wrong("exceeded max depth")
	}
	err := walk()
	r.depth--
	return err
}

// list reads a list; each must read its element. It reports whether the list was there, though empty.
func (r *reader) list(each func() error) (present bool, err error) {
	ok, err := r.is('[', "a list")
	if !ok || err != nil {
		return false, err
	}
	was, i := len(r.path), 0
	return true, r.nested(func() error {
		return r.s.members(func() error {
			r.path = append(r.path, '[')
			r.path = strconv.AppendInt(r.path, int64(i), 10)
			r.path = append(r.path, ']')
			i++
			if err := each(); err != nil {
				return err
			}
			r.path = r.path[:was]
			return nil
		}, ']')
	})
}

func (r *reader) str(to *string) error {
	ok, err := r.is('"', "a string")
	if !ok || err != nil {
		return err
	}
	s, err := r.s.str()
	if err == nil {
		*to = s
	}
	return err
}

func (r *reader) strs(to *[]string) (present bool, err error) {
	*to = nil
	return r.list(func() error {
		var s string
		err := r.str(&s)
		*to = append(*to, s)
		return err
	})
}

func (r *reader) boolean(to *bool) error {
	ok, err := r.is('t', "a boolean")
	if !ok || err != nil {
		return err
	}
	truth := r.s.at() == 't'
	if err = r.pass(); err == nil {
		*to = truth
	}
	return err
}

// number passes over the number at hand and returns its text.
func (r *reader) number() (string, error) {
	start := r.s.pos
	err := r.pass()
	return string(r.s.text[start:r.s.pos]), err
}

func (r *reader) integer(to *int) error {
	n, ok, err := r.whole()
	if ok {
		*to = n
	}
	return err
}

// whole reads an integer; ok says whether one is there.
func (r *reader) whole() (n int, ok bool, _ error) {
	ok, err := r.is('0', "a number")
	if !ok || err != nil {
		return 0, false, err
	}
	text, err := r.number()
	if err != nil {
		return 0, false, err
	}
	long, err := strconv.ParseInt(text, 10, 64)
	if err != nil || int64(int(long)) != long {
		r.invalid("expected a whole number, got " + text)
		return 0, false, nil
	}
	return int(long), true, nil
}

// text reads a string and hands it to parse, whose complaint says what was expected. An empty string is as good as none.
func (r *reader) text(expected string, parse func(s string) bool) error {
	s, wrong, err := r.tried(parse)
	if wrong {
		r.invalid("expected " + expected + ", got " + strconv.Quote(s))
	}
	return err
}

// tried reads a string and says whether it's wrong.
func (r *reader) tried(parse func(s string) bool) (s string, wrong bool, _ error) {
	if err := r.str(&s); err != nil || s == "" {
		return s, false, err
	}
	return s, !parse(s), nil
}

// refuse notes that the value at hand is wrong in the words of package net, which the reference passes on.
func (r *reader) refuse(problem, s, expected string) {
	r.note(invalidKey(string(r.path), problem+": "+s).expecting(expected))
}

func (r *reader) addr(to *netip.Addr) error {
	*to = netip.Addr{} // null and an empty string take back what an equal key said before
	s, wrong, err := r.tried(func(s string) bool {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return false
		}
		*to = a.Unmap()
		return true
	})
	if wrong {
		r.refuse("invalid IP address", s, "")
	}
	return err
}

func (r *reader) prefix(to *netip.Prefix) error {
	s, wrong, err := r.tried(func(s string) bool {
		p, ok := parsePrefix(s)
		if ok {
			*to = p
		}
		return ok
	})
	if wrong {
		r.refuse("invalid CIDR address", s, "an address with a prefix length")
	}
	return err
}

// parsePrefix reads "10.0.0.0/24"; an IPv4 prefix written as IPv6 becomes IPv4.
func parsePrefix(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, true
}

// keep adds the member at hand, as it's written, to the inner text of an object: one that isn't known, but of a result
// it is to be printed again.
func (r *reader) keep(members *string) error {
	if !r.keeps {
		return nil
	}
	w := newWriter(nil).str(r.key)
	value, err := r.value()
	if *members != "" {
		*members += ","
	}
	*members += string(w.b) + ":" + string(value)
	return err
}

// value takes the value at hand as it stands.
func (r *reader) value() ([]byte, error) {
	r.s.peek()
	start := r.s.pos
	err := r.pass()
	return bytes.Clone(r.s.text[start:r.s.pos]), err
}
