// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// A Writer prints JSON as the reference does: four spaces of indent, no newline at the end, strings
// escaped as encoding/json escapes them. Reflection over result types would cost a fresh process
// more than its whole output.
type Writer struct {
	b     []byte
	depth int
	empty bool // the innermost object or list has no member yet

	others []member // of the innermost object, in alphabetical order, still to be printed
}

// A member is a key of an object and its value as it's written.
type member struct {
	name  string
	value []byte
}

// NewWriter returns a writer that appends to b.
func NewWriter(b []byte) *Writer { return &Writer{b: b, empty: true} }

// Bytes returns everything that was written.
func (w *Writer) Bytes() []byte { return w.b }

// Open begins an object or a list.
func (w *Writer) Open(bracket byte) *Writer {
	w.b = append(w.b, bracket)
	w.depth++
	w.empty = true
	return w
}

// Close ends an object or a list.
func (w *Writer) Close(bracket byte) *Writer {
	w.flush("")
	w.depth--
	if !w.empty {
		w.newline()
	}
	w.b = append(w.b, bracket)
	w.empty = false
	return w
}

func (w *Writer) newline() {
	w.b = append(w.b, '\n')
	for range w.depth {
		w.b = append(w.b, "    "...)
	}
}

// Item begins the next element of a list, or the next key of an object.
func (w *Writer) Item() *Writer {
	if !w.empty {
		w.b = append(w.b, ',')
	}
	w.empty = false
	w.newline()
	return w
}

// Key prints a key. Its value must follow.
func (w *Writer) Key(k string) *Writer {
	if len(w.others) > 0 {
		w.flush(k)
	}
	w.Item().Str(k)
	w.b = append(w.b, ": "...)
	return w
}

// Among prints members that were kept, given as the inner text of an object, among those that
// follow. The object has no other objects or lists in it.
func (w *Writer) Among(members string) *Writer {
	w.others = splitMembers(members)
	return w
}

// flush prints the kept members that come before a key, or all of them.
func (w *Writer) flush(before string) {
	for len(w.others) > 0 && (before == "" || w.others[0].name < before) {
		m := w.others[0]
		w.others = w.others[1:]
		w.Item().Str(m.name)
		w.b = append(append(w.b, ": "...), m.value...)
	}
}

// splitMembers takes the inner text of an object apart, by name. The last of equal ones counts.
func splitMembers(text string) (list []member) {
	if text == "" {
		return nil
	}
	r := NewReader([]byte("{"+text+"}"), "")
	_ = r.Object(func(string) error {
		m := member{name: r.Key}
		var err error
		m.value, err = r.Value()
		at := 0
		for at < len(list) && list[at].name < m.name {
			at++
		}
		if at < len(list) && list[at].name == m.name {
			list[at] = m
		} else {
			list = slices.Insert(list, at, m)
		}
		return err
	})
	return list
}

// Raw prints a value as it is.
func (w *Writer) Raw(s string) *Writer {
	w.b = append(w.b, s...)
	return w
}

// Num prints a number.
func (w *Writer) Num(n int) *Writer {
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	return w
}

// Str prints a string. <, >, & and bytes that aren't UTF-8 are escaped as Go's encoder does it.
func (w *Writer) Str(s string) *Writer {
	const hex = "0123456789abcdef"
	w.b = append(w.b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				w.b = append(w.b, `\ufffd`...)
			case r == '\u2028' || r == '\u2029':
				w.b = append(w.b, `\u202`...)
				w.b = append(w.b, hex[r&0xf])
			default:
				w.b = append(w.b, s[i:i+n]...)
			}
			i += n
			continue
		}
		switch {
		case c == '"' || c == '\\':
			w.b = append(w.b, '\\', c)
		case c == '\n':
			w.b = append(w.b, `\n`...)
		case c == '\r':
			w.b = append(w.b, `\r`...)
		case c == '\t':
			w.b = append(w.b, `\t`...)
		case c == '\b':
			w.b = append(w.b, `\b`...)
		case c == '\f':
			w.b = append(w.b, `\f`...)
		case c < ' ' || c == '<' || c == '>' || c == '&':
			w.b = append(w.b, `\u00`...)
			w.b = append(w.b, hex[c>>4], hex[c&0xf])
		default:
			w.b = append(w.b, c)
		}
		i++
	}
	w.b = append(w.b, '"')
	return w
}

// Strs prints a list of strings under a key, or nothing if it's empty.
func (w *Writer) Strs(k string, list []string) {
	if len(list) == 0 {
		return
	}
	w.Key(k).Open('[')
	for _, s := range list {
		w.Item().Str(s)
	}
	w.Close(']')
}

// Text prints a field, or nothing if it's empty.
func (w *Writer) Text(key, s string) {
	if s != "" {
		w.Key(key).Str(s)
	}
}

// Number prints a field, or nothing if it's zero.
func (w *Writer) Number(key string, n int) {
	if n != 0 {
		w.Key(key).Num(n)
	}
}

// Pointer prints a field, or nothing if it's unset.
func (w *Writer) Pointer(key string, n *int) {
	if n != nil {
		w.Key(key).Num(*n)
	}
}
