// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// A Reader walks one JSON text. It notes the first value of a wrong kind with its path, and skips
// such values. So ADD can name the wrong value, and DEL can still use the rest. A text that isn't
// JSON ends the walk with a *SyntaxError. As in encoding/json, keys match in any case, the last of
// equal keys wins, and null sets nothing.
type Reader struct {
	First *Error // the first that was noted
	Key   string // of the current value, as it's written
	Keeps bool   // unknown members are kept, by [Reader.Keep]

	s     scanner
	other []Override
	path  []byte // of the current value, such as "ipam.ranges[0][1].subnet"
	depth int
}

// NewReader returns a reader of a text. path is the place of the text in a larger one; it may be
// empty.
func NewReader(text []byte, path string) *Reader {
	return &Reader{s: scanner{text: text}, path: append(make([]byte, 0, 64), path...)}
}

// An Override is a key of an object with a value that replaces the value in the object's own text.
type Override struct {
	Key   string
	Value []byte
}

// Override gives keys from elsewhere to the text's outermost object. The object's own keys of the
// same names are skipped.
func (r *Reader) Override(keys []Override) { r.other = keys }

// overridden reports whether a key of the outermost object comes from elsewhere.
func (r *Reader) overridden(name string) bool {
	return r.depth == 1 && slices.ContainsFunc(r.other, func(o Override) bool { return strings.EqualFold(o.Key, name) })
}

// overrides reads the keys from elsewhere, at the end of the outermost object.
func (r *Reader) overrides(field func(key string) error) error {
	if r.depth != 1 {
		return nil
	}
	own := r.s
	for _, o := range r.other {
		r.s = scanner{text: o.Value}
		if err := r.member(o.Key, field); err != nil {
			return err
		}
	}
	r.s = own
	return nil
}

// member reads the value of a key, or passes it over.
func (r *Reader) member(name string, field func(key string) error) error {
	was := len(r.path)
	if was > 0 {
		r.path = append(r.path, '.')
	}
	r.path = append(r.path, name...)
	r.Key = name
	r.s.peek()
	start := r.s.pos
	if err := field(strings.ToLower(name)); err != nil {
		return err
	}
	if r.s.pos == start {
		if err := r.Pass(); err != nil {
			return err
		}
	}
	r.path = r.path[:was]
	return nil
}

// Path is the path of the current value.
func (r *Reader) Path() string { return string(r.path) }

// End makes sure that nothing follows the value that was read.
func (r *Reader) End() error {
	if r.s.peek(); r.s.pos < len(r.s.text) {
		return r.s.wrong("after top-level value")
	}
	return nil
}

// Note keeps the first error about a value. The text stays readable.
func (r *Reader) Note(e *Error) {
	if r.First == nil {
		r.First = e
	}
}

// Invalid notes that the current value isn't the expected one.
func (r *Reader) Invalid(expected string) { r.Note(Invalid(r.Path(), expected)) }

// InvalidKey notes that a member of the current object isn't the expected one. An empty key is the
// object itself.
func (r *Reader) InvalidKey(key, expected string) {
	r.Note(Invalid(strings.TrimSuffix(r.Path()+"."+key, "."), expected))
}

// Wrong notes the problem with the current value in words of its own. expected may be empty.
func (r *Reader) Wrong(problem, expected string) {
	r.Note(&Error{Path: r.Path(), Msg: problem, Details: strings.TrimSuffix(r.Path()+": expected "+expected, ": expected ")})
}

// Kind is the first character of a value of a kind. All numbers are of kind '0', and booleans of
// kind 't'.
func (r *Reader) Kind() byte {
	switch c := r.s.peek(); {
	case c == '-' || isDigit(c):
		return '0'
	case c == 'f':
		return 't'
	default:
		return c
	}
}

// is reports whether the current value has the kind. null is skipped silently, and any other kind
// is skipped with a note.
func (r *Reader) is(kind byte, expected string) (bool, error) {
	k := r.Kind()
	if k == kind {
		return true, nil
	}
	err := r.Pass()
	if err == nil && k != 'n' {
		r.Invalid("expected " + expected + ", got " + kindName(k))
	}
	return false, err
}

// Pass skips the current value.
func (r *Reader) Pass() error { return r.s.skip(r.depth) }

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

// Object reads an object. field gets each key in lower case. It must read the value, or return
// without having touched it, which skips it.
func (r *Reader) Object(field func(key string) error) error {
	ok, err := r.is('{', "an object")
	if !ok || err != nil {
		return err
	}
	return r.nested(func() error {
		err := r.s.members(func() error {
			name, err := r.s.str()
			if err != nil {
				return err
			}
			if err := r.s.colon(); err != nil {
				return err
			}
			if r.overridden(name) {
				return r.Pass()
			}
			return r.member(name, field)
		}, '}')
		if err != nil {
			return err
		}
		return r.overrides(field)
	})
}

// nested goes one level down.
func (r *Reader) nested(walk func() error) error {
	if r.depth++; r.depth > maxDepth {
		return r.s.wrong("exceeded max depth")
	}
	err := walk()
	r.depth--
	return err
}

// List reads a list. each must read its element. It reports whether there was a list, also an empty
// one.
func (r *Reader) List(each func() error) (present bool, err error) {
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

// Str reads a string.
func (r *Reader) Str(to *string) error {
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

// Strs reads a list of strings. It reports whether there was a list, also an empty one.
func (r *Reader) Strs(to *[]string) (present bool, err error) {
	*to = nil
	return r.List(func() error {
		var s string
		err := r.Str(&s)
		*to = append(*to, s)
		return err
	})
}

// Bool reads a boolean.
func (r *Reader) Bool(to *bool) error {
	ok, err := r.is('t', "a boolean")
	if !ok || err != nil {
		return err
	}
	truth := r.s.at() == 't'
	if err = r.Pass(); err == nil {
		*to = truth
	}
	return err
}

// number skips the current number and returns its text.
func (r *Reader) number() (string, error) {
	start := r.s.pos
	err := r.Pass()
	return string(r.s.text[start:r.s.pos]), err
}

// Integer reads a whole number.
func (r *Reader) Integer(to *int) error {
	n, ok, err := r.Whole()
	if ok {
		*to = n
	}
	return err
}

// Whole reads an integer. ok reports whether there is one.
func (r *Reader) Whole() (n int, ok bool, _ error) {
	long, ok, err := r.Long()
	if n = int(long); int64(n) != long {
		r.Invalid("expected a whole number, got " + strconv.FormatInt(long, 10))
		return 0, false, nil
	}
	return n, ok, err
}

// Long reads an integer of 64 bits, also where an int has 32. ok reports whether there is one.
func (r *Reader) Long() (n int64, ok bool, _ error) {
	ok, err := r.is('0', "a number")
	if !ok || err != nil {
		return 0, false, err
	}
	text, err := r.number()
	if err != nil {
		return 0, false, err
	}
	n, err = strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.Invalid("expected a whole number, got " + text)
		return 0, false, nil
	}
	return n, true, nil
}

// Text reads a string and hands it to parse. If parse returns false, the error names the
// expectation. An empty string is the same as none.
func (r *Reader) Text(expected string, parse func(s string) bool) error {
	s, wrong, err := r.tried(parse)
	if wrong {
		r.Invalid("expected " + expected + ", got " + strconv.Quote(s))
	}
	return err
}

// tried reads a string and reports whether it's wrong.
func (r *Reader) tried(parse func(s string) bool) (s string, wrong bool, _ error) {
	if err := r.Str(&s); err != nil || s == "" {
		return s, false, err
	}
	return s, !parse(s), nil
}

// Addr reads an IP address. An IPv4 address that is written as IPv6 becomes IPv4. A wrong one is
// noted in the words of package net, which the reference passes on.
func (r *Reader) Addr(to *netip.Addr) error {
	*to = netip.Addr{} // null and an empty string take back the value of an earlier equal key
	s, wrong, err := r.tried(func(s string) bool {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return false
		}
		*to = a.Unmap()
		return true
	})
	if wrong {
		r.Wrong("invalid IP address: "+s, "")
	}
	return err
}

// Prefix reads an address with a prefix length, as Addr reads an address.
func (r *Reader) Prefix(to *netip.Prefix) error {
	s, wrong, err := r.tried(func(s string) bool {
		p, ok := ParsePrefix(s)
		if ok {
			*to = p
		}
		return ok
	})
	if wrong {
		r.Wrong("invalid CIDR address: "+s, "an address with a prefix length")
	}
	return err
}

// ParsePrefix reads "10.0.0.0/24". An IPv4 prefix that is written as IPv6 becomes IPv4.
func ParsePrefix(s string) (netip.Prefix, bool) {
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

// Keep adds the current member, as it's written, to the inner text of an object. The member is
// unknown, but belongs to a result that will be printed again.
func (r *Reader) Keep(members *string) error {
	if !r.Keeps {
		return nil
	}
	w := NewWriter(nil).Str(r.Key)
	value, err := r.Value()
	if *members != "" {
		*members += ","
	}
	*members += string(w.b) + ":" + string(value)
	return err
}

// Value returns the current value as it's written.
func (r *Reader) Value() ([]byte, error) {
	r.s.peek()
	start := r.s.pos
	err := r.Pass()
	return bytes.Clone(r.s.text[start:r.s.pos]), err
}

// Bounded reads a whole number and notes one out of bounds.
func (r *Reader) Bounded(to *int, least, most int) error {
	n, ok, err := r.Whole()
	switch {
	case !ok:
	case n < least || n > most:
		r.Invalid("expected " + strconv.Itoa(least) + " to " + strconv.Itoa(most) + ", got " + strconv.Itoa(n))
	default:
		*to = n
	}
	return err
}

// Optional reads a number from 0 on that may be absent.
func (r *Reader) Optional(to **int, most int) error {
	*to = nil
	n := math.MinInt
	if err := r.Integer(&n); err != nil || n == math.MinInt {
		return err
	}
	if n < 0 || n > most {
		r.Invalid("expected 0 to " + strconv.Itoa(most) + ", got " + strconv.Itoa(n))
		return nil
	}
	*to = &n
	return nil
}

// Flag reads a boolean that may be absent.
func (r *Reader) Flag(to **bool) error {
	*to = nil
	kind := r.Kind()
	on := false
	err := r.Bool(&on)
	if err == nil && kind == 't' {
		*to = &on
	}
	return err
}
