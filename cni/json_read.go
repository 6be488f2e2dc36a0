// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A reader walks one JSON text by tokens. A value of the wrong kind is noted, the first one with its path,
// and passed over: so ADD can name what is wrong, and DEL can still use the rest. A text that isn't JSON ends
// the walk. As in encoding/json, keys match in any case, the last of equal keys wins, and null sets nothing.
type reader struct {
	d     *jsontext.Decoder
	path  []byte // of the value at hand, such as "ipam.ranges[0][1].subnet"
	first *Error
}

func newReader(text []byte, path string) *reader {
	return &reader{
		d:    jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		path: []byte(path),
	}
}

// end makes sure that nothing follows the value that was read.
func (r *reader) end() error {
	if _, err := r.d.ReadToken(); err != io.EOF {
		if err == nil {
			err = &Error{Code: CodeDecode, Msg: "text after the configuration"}
		}
		return err
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

// is reports whether the value at hand has the kind; null is passed over silently, any other kind with a note.
func (r *reader) is(kind jsontext.Kind, expected string) (bool, error) {
	switch k := r.d.PeekKind(); k {
	case kind:
		return true, nil
	case jsontext.KindInvalid:
		_, err := r.d.ReadToken()
		return false, err
	case jsontext.KindNull:
	default:
		r.invalid("expected " + expected + ", got " + kindName(k))
	}
	return false, r.d.SkipValue()
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "a list"
	}
	return "null"
}

// object reads an object; field gets each key in lower case and must read the value or return without
// having touched it, which passes it over.
func (r *reader) object(field func(key string) error) error {
	ok, err := r.is(jsontext.KindBeginObject, "an object")
	if !ok || err != nil {
		return err
	}
	if _, err := r.d.ReadToken(); err != nil {
		return err
	}
	for {
		t, err := r.d.ReadToken()
		if err != nil {
			return err
		}
		if t.Kind() == jsontext.KindEndObject {
			return nil
		}
		name := t.String()
		was := len(r.path)
		if was > 0 {
			r.path = append(r.path, '.')
		}
		r.path = append(r.path, name...)
		if err := field(strings.ToLower(name)); err != nil {
			return err
		}
		if err := r.passOver(); err != nil {
			return err
		}
		r.path = r.path[:was]
	}
}

// passOver skips the value after a key that nobody read.
func (r *reader) passOver() error {
	if _, n := r.d.StackIndex(r.d.StackDepth()); n%2 == 0 {
		return nil
	}
	return r.d.SkipValue()
}

// list reads a list; each must read its element. It reports whether the list was there, though empty.
func (r *reader) list(each func() error) (present bool, err error) {
	ok, err := r.is(jsontext.KindBeginArray, "a list")
	if !ok || err != nil {
		return false, err
	}
	if _, err := r.d.ReadToken(); err != nil {
		return false, err
	}
	was := len(r.path)
	for i := 0; ; i++ {
		switch r.d.PeekKind() {
		case jsontext.KindEndArray, jsontext.KindInvalid:
			_, err := r.d.ReadToken()
			return true, err
		}
		r.path = append(r.path, '[')
		r.path = strconv.AppendInt(r.path, int64(i), 10)
		r.path = append(r.path, ']')
		if err := each(); err != nil {
			return true, err
		}
		r.path = r.path[:was]
	}
}

func (r *reader) str(to *string) error {
	ok, err := r.is(jsontext.KindString, "a string")
	if !ok || err != nil {
		return err
	}
	t, err := r.d.ReadToken()
	if err == nil {
		*to = t.String()
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
	switch r.d.PeekKind() {
	case jsontext.KindTrue, jsontext.KindFalse:
		t, err := r.d.ReadToken()
		if err == nil {
			*to = t.Bool()
		}
		return err
	}
	_, err := r.is(jsontext.KindTrue, "a boolean")
	return err
}

func (r *reader) integer(to *int) error {
	ok, err := r.is(jsontext.KindNumber, "a number")
	if !ok || err != nil {
		return err
	}
	t, err := r.d.ReadToken()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(t.String(), 10, 64)
	if err != nil || int64(int(n)) != n {
		r.invalid("expected a whole number, got " + t.String())
		return nil
	}
	*to = int(n)
	return nil
}

// text reads a string and hands it to parse, whose complaint says what was expected. An empty string is as good as none.
func (r *reader) text(expected string, parse func(s string) bool) error {
	var s string
	if err := r.str(&s); err != nil || s == "" {
		return err
	}
	if !parse(s) {
		r.invalid("expected " + expected + ", got " + strconv.Quote(s))
	}
	return nil
}

func (r *reader) addr(to *netip.Addr) error {
	return r.text("an IP address", func(s string) bool {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return false
		}
		*to = a.Unmap()
		return true
	})
}

func (r *reader) prefix(to *netip.Prefix) error {
	return r.text("an address with a prefix length", func(s string) bool {
		p, ok := parsePrefix(s)
		if ok {
			*to = p
		}
		return ok
	})
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

// value takes the value at hand as it stands.
func (r *reader) value() ([]byte, error) {
	v, err := r.d.ReadValue()
	return bytes.Clone(v), err
}
