// SPDX-License-Identifier: Apache-2.0

// Package pattern matches texts against a part of the regular expressions of package regexp.
//
// The initialization of that package costs time in every call of every plugin. So this package has
// the part that lists of allowed sysctls use: characters, ., classes, \d, \w, \s, groups, |, ^, $
// and repetitions. Anything else is an error, never another meaning.
package pattern

import (
	"errors"
	"strconv"
	"strings"
)

// A matcher matches at i and goes on with next. steps bounds the number of tries.
type matcher func(m *matching, i int, next func(int) bool) bool

type matching struct {
	s     string
	steps int
}

// maxSteps ends expressions whose tries explode. Then nothing matches.
const maxSteps = 100_000

// A Pattern is one expression. Its zero value matches nothing and mustn't be used.
type Pattern struct{ whole matcher }

// Match reports whether the expression matches anywhere in a text. One that takes too many tries
// doesn't.
func (p Pattern) Match(s string) bool {
	matches, _ := p.match(s)
	return matches
}

// match also reports whether it was decided.
func (p Pattern) match(s string) (matches, decided bool) {
	m := &matching{s: s, steps: maxSteps}
	for i := range len(s) + 1 {
		if p.whole(m, i, func(int) bool { return true }) {
			return true, true
		}
	}
	return false, m.steps > 0
}

var errUnsupported = errors.New("not supported")

// A parser walks an expression.
type parser struct {
	rest  string
	depth int
}

// Parse reads an expression. It refuses expressions that it doesn't read as package regexp does.
func Parse(text string) (Pattern, error) {
	p := &parser{rest: text}
	m, err := p.alternatives()
	if err == nil && p.rest != "" {
		err = errUnsupported
	}
	return Pattern{m}, err
}

// take takes a character if it's the next one.
func (p *parser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// alternatives reads sequences with | between them.
func (p *parser) alternatives() (matcher, error) {
	var all []matcher
	for {
		m, err := p.sequence()
		if err != nil {
			return nil, err
		}
		all = append(all, m)
		if !p.take('|') {
			break
		}
	}
	return func(m *matching, i int, next func(int) bool) bool {
		for _, one := range all {
			if one(m, i, next) {
				return true
			}
		}
		return false
	}, nil
}

func (p *parser) sequence() (matcher, error) {
	whole := matcher(func(_ *matching, i int, next func(int) bool) bool { return next(i) })
	for p.rest != "" && p.rest[0] != '|' && p.rest[0] != ')' {
		atom, err := p.atom()
		if err != nil {
			return nil, err
		}
		if atom, err = p.repeated(atom); err != nil {
			return nil, err
		}
		before := whole
		whole = func(m *matching, i int, next func(int) bool) bool {
			return before(m, i, func(j int) bool { return atom(m, j, next) })
		}
	}
	return whole, nil
}

// repeated reads the repetition that may follow an atom: *, +, ?, {2}, {2,}, {2,3}. A ? after it
// makes it match less, which doesn't change whether it matches.
func (p *parser) repeated(atom matcher) (matcher, error) {
	least, most := 1, 1
	switch {
	case p.take('*'):
		least, most = 0, -1
	case p.take('+'):
		most = -1
	case p.take('?'):
		least = 0
	case p.take('{'):
		var err error
		if least, most, err = p.bounds(); err != nil {
			return nil, err
		}
	default:
		return atom, nil
	}
	p.take('?')
	if p.rest != "" && strings.IndexByte("*+?{", p.rest[0]) >= 0 {
		return nil, errUnsupported
	}
	return repeat(atom, least, most), nil
}

func (p *parser) bounds() (least, most int, err error) {
	text, rest, ok := strings.Cut(p.rest, "}")
	p.rest = rest
	low, high, two := strings.Cut(text, ",")
	least, err = strconv.Atoi(low)
	switch most = least; {
	case two && high == "":
		most = -1
	case two && err == nil:
		most, err = strconv.Atoi(high)
	}
	// 100 is far below regexp's bound for nested repetitions.
	if !ok || err != nil || strings.ContainsAny(text, "+-") || hasZero(low) || hasZero(high) || least > 100 || most > 100 || most >= 0 && most < least {
		return 0, 0, errUnsupported
	}
	return least, most, nil
}

// hasZero reports a leading zero, which makes the braces stand for themselves.
func hasZero(number string) bool { return len(number) > 1 && number[0] == '0' }

// repeat matches an atom several times; most is -1 for any number.
func repeat(atom matcher, least, most int) matcher {
	return func(m *matching, i int, next func(int) bool) bool {
		var more func(n, i int) bool
		more = func(n, i int) bool {
			if m.steps--; m.steps < 0 {
				return false
			}
			if n >= least && next(i) {
				return true
			}
			if n == most {
				return false
			}
			return atom(m, i, func(j int) bool {
				if j == i { // an empty match can't be repeated
					return n < least && next(i)
				}
				return more(n+1, j)
			})
		}
		return more(0, i)
	}
}

// maxGroups bounds the depth of groups.
const maxGroups = 50

func (p *parser) atom() (matcher, error) {
	c := p.rest[0]
	p.rest = p.rest[1:]
	switch c {
	case '(':
		if p.take('?') && !p.take(':') {
			return nil, errUnsupported
		}
		if p.depth++; p.depth > maxGroups {
			return nil, errUnsupported
		}
		m, err := p.alternatives()
		p.depth--
		if err == nil && !p.take(')') {
			err = errUnsupported
		}
		return m, err
	case '^':
		return func(_ *matching, i int, next func(int) bool) bool { return i == 0 && next(i) }, nil
	case '$':
		return func(m *matching, i int, next func(int) bool) bool { return i == len(m.s) && next(i) }, nil
	case '*', '+', '?', '{':
		return nil, errUnsupported
	}
	var set charSet
	switch c {
	case '.':
		set.add(0, 255)
		set['\n'] = false
	case '[':
		return p.class()
	case '\\':
		if err := p.escape(&set); err != nil {
			return nil, err
		}
	default:
		if c >= 0x80 {
			return nil, errUnsupported
		}
		set[c] = true
	}
	return set.matcher(), nil
}

// A charSet is the set of characters that an atom matches.
type charSet [256]bool

func (s *charSet) add(from, to byte) {
	for c := int(from); c <= int(to); c++ {
		s[c] = true
	}
}

func (s charSet) matcher() matcher {
	return func(m *matching, i int, next func(int) bool) bool {
		m.steps--
		return m.steps > 0 && i < len(m.s) && s[m.s[i]] && next(i+1)
	}
}

// escape reads the character after a backslash: \d, \w, \s, or punctuation that stands for itself.
func (p *parser) escape(set *charSet) error {
	if p.rest == "" {
		return errUnsupported
	}
	c := p.rest[0]
	p.rest = p.rest[1:]
	switch {
	case c == 'd':
		set.add('0', '9')
	case c == 'w':
		set.add('0', '9')
		set.add('a', 'z')
		set.add('A', 'Z')
		set['_'] = true
	case c == 's':
		for _, space := range []byte("\t\n\f\r ") {
			set[space] = true
		}
	case c < 0x80 && c > ' ' && !isWord(c) && c != 0x7f:
		set[c] = true
	default:
		return errUnsupported
	}
	return nil
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}

// class reads the text after a bracket. A hyphen stands for itself only at an end, and another
// bracket never does.
func (p *parser) class() (matcher, error) {
	var set charSet
	not := p.take('^')
	for first := true; first || !p.take(']'); first = false {
		if p.rest == "" || p.rest[0] == '[' || p.rest[0] == '&' || p.rest[0] == ']' {
			return nil, errUnsupported
		}
		c := p.rest[0]
		p.rest = p.rest[1:]
		isRange := len(p.rest) > 1 && p.rest[0] == '-' && p.rest[1] != ']'
		switch {
		case c >= 0x80 || c == '-' && !first && !strings.HasPrefix(p.rest, "]"):
			return nil, errUnsupported
		case c == '\\':
			if err := p.escape(&set); err != nil || len(p.rest) > 1 && p.rest[0] == '-' && p.rest[1] != ']' {
				return nil, errUnsupported
			}
		case isRange:
			to := p.rest[1]
			if p.rest = p.rest[2:]; to < c || to >= 0x80 || to == '\\' || to == '[' {
				return nil, errUnsupported
			}
			set.add(c, to)
		default:
			set[c] = true
		}
	}
	if not {
		for i := range set {
			set[i] = !set[i]
		}
	}
	return set.matcher(), nil
}
