// SPDX-License-Identifier: Apache-2.0

package cni

import (
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
}

func newWriter(b []byte) *writer { return &writer{b: b, empty: true} }

func (w *writer) open(bracket byte) *writer {
	w.b = append(w.b, bracket)
	w.depth++
	w.empty = true
	return w
}

func (w *writer) close(bracket byte) *writer {
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
	w.item().str(k)
	w.b = append(w.b, ": "...)
	return w
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
