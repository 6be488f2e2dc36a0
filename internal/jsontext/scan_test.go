// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// FuzzScanner: the scanner takes and refuses what encoding/json does, and strings mean the same.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, ` [ 1 , -0 , 0.5e+7 , "a" , true , false , null , {"b": [ ]} ] `, `{"a":1,"a":2}`, `"\u00e9\ud83d\ude00\ud800x\\\/\b\f\n\r\t"`,
		`"` + "\xff\xc3" + `"`, `01`, `1.`, `-`, `1e`, `+1`, `"` + "\x01" + `"`, `"\x"`, `"\u12`, `{"a"}`, `{"a":}`, `[1,]`, `{,}`, `nul`, `truex`, ``, ` `, "\v1", "[\xc2\xa0]",
		`"\ud800\ud800\udc00"`, `"\ud800A"`, `"\ud83d\u0041"`, strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth),
		strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1), "\x00", "1\x00", "[1\x00]", "{\x00}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scanner{text: text}
		err := s.skip(0)
		if err == nil {
			if s.peek(); s.pos < len(text) {
				err = s.wrong("the end")
			}
		}
		if valid := json.Valid(text); valid != (err == nil) {
			t.Fatalf("encoding/json says valid: %v, the scanner: %v", valid, err)
		}
		var want string
		if trimmed := bytes.TrimLeft(text, " \t\r\n"); err != nil || len(trimmed) == 0 || trimmed[0] != '"' || json.Unmarshal(text, &want) != nil {
			return
		}
		s = scanner{text: text}
		if got, err := s.str(); err != nil || got != want {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	})
}

// A reader refuses whatever isn't JSON, wherever it stands and whoever reads it.
func TestReaderRefuses(t *testing.T) {
	for _, text := range []string{`{`, `{"a":`, `{"a" 1}`, `{"a":1,}`, `{"a":[1}`, `{"a":"x`, `{"a":tru}`, `{"a":1}}`, `{"a":1} x`, `[`, ``, strings.Repeat(`{"a":`, 20000)} {
		for _, read := range []func(*Reader) error{
			func(r *Reader) error { return nil },
			func(r *Reader) error { var s string; return r.Str(&s) },
			func(r *Reader) error { var n int; return r.Integer(&n) },
			func(r *Reader) error { var b bool; return r.Bool(&b) },
			func(r *Reader) error { _, err := r.List(func() error { return r.Pass() }); return err },
			func(r *Reader) error { return r.Object(func(string) error { return nil }) },
			func(r *Reader) error { _, err := r.Value(); return err },
		} {
			r := NewReader([]byte(text), "")
			err := r.Object(func(string) error { return read(r) })
			if err == nil {
				err = r.End()
			}
			if err == nil {
				t.Errorf("%.40q is taken", text)
			}
		}
	}
}

// A text that isn't JSON is reported in the words of encoding/json, as the reference does.
func TestSyntaxErrorsAreEncodingJSONs(t *testing.T) {
	for _, text := range []string{
		"", " ", "{", "[", "x", "\x00", `"`, `"a`, "{}x", "{}{}", "[1,]", "[1 2]", `{"a"}`, `{"a" 1}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b"}`, "{1}", "{,}",
		"tru", "trux", "nul1", "falsy", "-", "-x", "01", "1.", "1.x", "1e", "1e+", "1ex", "{\"a\":\"\x01\"}", `"\x"`, `"\u12g4"`, `"\u12`, `{"a":{"b":[1,2}}`,
		strings.Repeat("[", 10001), `{'a':1}`, "{\"a\":1\x7f}",
	} {
		var v any
		err := json.Unmarshal([]byte(text), &v)
		r := NewReader([]byte(text), "")
		got := r.Pass()
		if got == nil {
			got = r.End()
		}
		if got == nil || err == nil || got.Error() != err.Error() {
			t.Errorf("%.20q: got %v, want %v", text, got, err)
		}
	}
}

// Keys that are somebody else's replace the outermost object's own, whatever these are, and no
// others.
func TestOverride(t *testing.T) {
	r := NewReader([]byte(`{"A":7,"b":{"a":"inner","b":1},"c":"own"}`), "")
	r.Override([]Override{{"a", []byte(`{"x":"others"}`)}, {"d", []byte(`"new"`)}, {"e", []byte(`5`)}})
	var got []string
	note := func(s string) { got = append(got, r.Path()+"="+s) }
	str := func() error {
		var s string
		err := r.Str(&s)
		note(s)
		return err
	}
	err := r.Object(func(key string) error {
		switch key {
		case "a", "b":
			return r.Object(func(key string) error {
				if key == "b" {
					return nil
				}
				return str()
			})
		case "e": // nobody reads it
			return nil
		}
		return str()
	})
	if err == nil {
		err = r.End()
	}
	if want := "b.a=inner c=own a.x=others d=new"; err != nil || r.First != nil || strings.Join(got, " ") != want {
		t.Errorf("got %q, %v, %v, want %q", got, err, r.First, want)
	}
}
