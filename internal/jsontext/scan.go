// SPDX-License-Identifier: Apache-2.0

package jsontext

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A scanner walks one JSON text (RFC 8259) that is whole in memory. It's as lenient as
// encoding/json with invalid UTF-8 and lone surrogates, which become U+FFFD, and otherwise as
// strict. It takes some microseconds for a configuration of a kilobyte. A tokenizer that reads from
// a stream, has buffers and keeps the names of each object takes a fresh process fifty.
type scanner struct {
	text []byte
	pos  int
}

// maxDepth is how deep lists and objects may be nested, as in encoding/json.
const maxDepth = 10000

// A SyntaxError is a text that isn't JSON, in the words of encoding/json, which callers of the
// reference know.
type SyntaxError struct {
	Pos int // in bytes
	Msg string
}

func (e *SyntaxError) Error() string { return e.Msg }

const (
	inString   = "in string literal"
	afterPoint = "after decimal point in numeric literal"
)

// wrong names the place in the grammar at which the current byte is wrong.
func (s *scanner) wrong(where string) error {
	c := rune(' ') // encoding/json puts this after the end, to see whether it could be one
	switch {
	case s.pos < len(s.text):
		c = rune(s.text[s.pos])
	case strings.HasPrefix(where, "in ") && where != inString, where == afterPoint:
	default:
		return &SyntaxError{s.pos, "unexpected end of JSON input"}
	}
	return &SyntaxError{s.pos, "invalid character " + strconv.QuoteRune(c) + " " + where}
}

// peek skips white space and returns the byte that follows, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// colon skips the colon that must follow a key.
func (s *scanner) colon() error {
	if s.peek() != ':' || s.pos == len(s.text) {
		return s.wrong("after object key")
	}
	s.pos++
	return nil
}

// skip skips one value of any kind, and makes sure that it's JSON.
func (s *scanner) skip(depth int) error {
	switch c := s.peek(); {
	case (c == '{' || c == '[') && depth >= maxDepth:
		return s.wrong("exceeded max depth")
	case c == '{':
		return s.members(func() error {
			if err := s.skipString(); err != nil {
				return err
			}
			if err := s.colon(); err != nil {
				return err
			}
			return s.skip(depth + 1)
		}, '}')
	case c == '[':
		return s.members(func() error { return s.skip(depth + 1) }, ']')
	case c == '"':
		return s.skipString()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || isDigit(c):
		return s.skipNumber()
	}
	return s.wrong("looking for beginning of value")
}

// members skips a list or an object, whose bracket comes next, and calls each for its elements.
func (s *scanner) members(each func() error, end byte) error {
	s.pos++
	if s.peek() == end {
		s.pos++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		switch s.peek() {
		case end:
			s.pos++
			return nil
		case ',':
			s.pos++
		default:
			if end == '}' {
				return s.wrong("after object key:value pair")
			}
			return s.wrong("after array element")
		}
	}
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.pos == len(s.text) || s.text[s.pos] != word[i] {
			return s.wrong("in literal " + word + " (expecting " + strconv.QuoteRune(rune(word[i])) + ")")
		}
		s.pos++
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (s *scanner) at() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// digits skips at least one digit.
func (s *scanner) digits(where string) error {
	if !isDigit(s.at()) {
		return s.wrong(where)
	}
	for isDigit(s.at()) {
		s.pos++
	}
	return nil
}

func (s *scanner) skipNumber() error {
	if s.at() == '-' {
		s.pos++
	}
	if s.at() == '0' {
		s.pos++
	} else if err := s.digits("in numeric literal"); err != nil {
		return err
	}
	if s.at() == '.' {
		s.pos++
		if err := s.digits(afterPoint); err != nil {
			return err
		}
	}
	if c := s.at(); c != 'e' && c != 'E' {
		return nil
	}
	s.pos++
	if c := s.at(); c == '+' || c == '-' {
		s.pos++
	}
	return s.digits("in exponent of numeric literal")
}

// skipString skips a string.
func (s *scanner) skipString() error {
	if s.peek() != '"' {
		return s.wrong("looking for beginning of object key string")
	}
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c < ' ':
			return s.wrong(inString)
		case c == '\\':
			if err := s.skipEscape(); err != nil {
				return err
			}
		}
	}
	return s.wrong("")
}

// skipEscape skips an escape except for its last byte.
func (s *scanner) skipEscape() error {
	s.pos++
	switch s.at() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			s.pos++
			if _, ok := hexDigit(s.at()); !ok {
				return s.wrong(`in \u hexadecimal character escape`)
			}
		}
		return nil
	}
	return s.wrong("in string escape code")
}

func hexDigit(c byte) (rune, bool) {
	switch {
	case isDigit(c):
		return rune(c - '0'), true
	case c >= 'a' && c <= 'f':
		return rune(c - 'a' + 10), true
	case c >= 'A' && c <= 'F':
		return rune(c - 'A' + 10), true
	}
	return 0, false
}

// str skips a string and returns its meaning.
func (s *scanner) str() (string, error) {
	s.peek()
	start := s.pos
	if err := s.skipString(); err != nil {
		return "", err
	}
	inner := s.text[start+1 : s.pos-1]
	for _, c := range inner {
		if c == '\\' || c >= utf8.RuneSelf {
			return unescape(inner), nil
		}
	}
	return string(inner), nil
}

// unescape returns the meaning of the inside of a well-formed string.
func unescape(b []byte) string {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		if b[0] != '\\' {
			r, n := utf8.DecodeRune(b) // U+FFFD if it isn't UTF-8
			out, b = utf8.AppendRune(out, r), b[n:]
			continue
		}
		c := b[1]
		b = b[2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(b)
			b = b[4:]
			if utf16.IsSurrogate(r) {
				second := rune(utf8.RuneError)
				if len(b) >= 6 && b[0] == '\\' && b[1] == 'u' {
					second = hex4(b[2:])
				}
				if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
					b = b[6:]
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		out = append(out, c)
	}
	return string(out)
}

func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		d, _ := hexDigit(c)
		r = r<<4 | d
	}
	return r
}
