// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"slices"
	"strconv"
	"unicode/utf8"
)

// A writer prints JSON as the reference does: four spaces of indent, no newline at the end, strings escaped
// as encoding/json escapes them. It exists because reflection over result types costs a fresh process more
// than the whole of its output.
type writer struct {
	b     []byte
	depth int
	empty bool // nothing stands yet in the innermost object or list

	others []jsonMember // of the innermost object, in alphabetical order, that are still to be printed
}

// A jsonMember is a key of an object and its value as it's written.
type jsonMember struct {
	name  string
	value []byte
}

func newWriter(b []byte) *writer { return &writer{b: b, empty: true} }

func (w *writer) open(bracket byte) *writer {
	w.b = append(w.b, bracket)
	w.depth++
	w.empty = true
	return w
}

func (w *writer) close(bracket byte) *writer {
	w.flush("")
	w.depth--
	if !w.empty {
		w.newline()
	}
	w.b = append(w.b, bracket)
	w.empty = false
	return w
}

func (w *writer) newline() {
	w.b = append(w.b, '\n')
	for range w.depth {
		w.b = append(w.b, "    "...)
	}
}

// item begins the next element of a list, or the next key of an object.
func (w *writer) item() *writer {
	if !w.empty {
		w.b = append(w.b, ',')
	}
	w.empty = false
	w.newline()
	return w
}

func (w *writer) key(k string) *writer {
	if len(w.others) > 0 {
		w.flush(k)
	}
	w.item().str(k)
	w.b = append(w.b, ": "...)
	return w
}

// among prints members that were kept, given as the inner text of an object, among those that follow. The object has
// no other objects or lists in it.
func (w *writer) among(members string) *writer {
	w.others = splitMembers(members)
	return w
}

// flush prints the kept members that come before a key, or all of them.
func (w *writer) flush(before string) {
	for len(w.others) > 0 && (before == "" || w.others[0].name < before) {
		m := w.others[0]
		w.others = w.others[1:]
		w.item().str(m.name)
		w.b = append(append(w.b, ": "...), m.value...)
	}
}

// splitMembers takes the inner text of an object apart, by name. The last of equal ones counts.
func splitMembers(text string) (list []jsonMember) {
	if text == "" {
		return nil
	}
	r := newReader([]byte("{"+text+"}"), "")
	_ = r.object(func(string) error {
		m := jsonMember{name: r.key}
		var err error
		m.value, err = r.value()
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

func (w *writer) raw(s string) *writer {
	w.b = append(w.b, s...)
	return w
}

func (w *writer) num(n int) *writer {
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	return w
}

// str prints a string; <, >, & and what isn't UTF-8 are escaped the way Go's encoder does it.
func (w *writer) str(s string) *writer {
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

// strs prints a list of strings under a key, or nothing when it's empty.
func (w *writer) strs(k string, list []string) {
	if len(list) == 0 {
		return
	}
	w.key(k).open('[')
	for _, s := range list {
		w.item().str(s)
	}
	w.close(']')
}
