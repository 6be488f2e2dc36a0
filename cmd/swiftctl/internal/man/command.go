// SPDX-License-Identifier: Apache-2.0

package man

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Commands is the page of a program with commands, in section 8: each with its text and its flags.
// more is in roff, and comes at the end.
func Commands(root *cobra.Command, more string) []byte {
	first, rest := root.Short[:1], root.Short[1:]
	p := newPage(root.Name(), 8, strings.ToLower(first)+rest)
	p.section("Synopsis")
	for i, c := range root.Commands() {
		if i > 0 {
			p.WriteString(".br\n")
		}
		p.WriteString(usage(c) + "\n")
	}
	p.section("Description")
	p.text(prose(root.Long))
	p.section("Commands")
	for _, c := range root.Commands() {
		p.command(c)
	}
	p.WriteString(more)
	return p.Bytes()
}

// usage is a command's line of usage. Words that stand for others are in italics.
func usage(c *cobra.Command) string {
	var words []string
	for i, w := range strings.Fields(c.Parent().Name() + " " + c.Use) {
		core := strings.Trim(w, "[]{}|.")
		switch {
		case i < 2 || strings.HasPrefix(core, "-"):
			w = bold(w)
		case core != "" && strings.ToUpper(core) == core:
			before, after, _ := strings.Cut(w, core)
			w = literal(before) + italic(strings.ToLower(core)) + literal(after)
		default:
			w = literal(w)
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func (p *page) command(c *cobra.Command) {
	p.subsection(strings.Join(append([]string{c.Name()}, c.Aliases...), ", "))
	p.WriteString(usage(c) + "\n")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	p.long(long)
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !f.Hidden {
			p.flag(f)
		}
	})
}

// long writes a help text: paragraphs, and lists or examples if lines are indented.
func (p *page) long(text string) {
	for block := range strings.SplitSeq(text, "\n\n") {
		if !strings.HasPrefix(block, "  ") {
			p.text(prose(block))
			continue
		}
		var lines []string
		for l := range strings.Lines(block) {
			lines = append(lines, strings.TrimSuffix(strings.TrimPrefix(l, "  "), "\n"))
		}
		p.example(lines)
	}
}

// prose turns a help text into roff. Flags stand out.
func prose(text string) string {
	var b strings.Builder
	for i, l := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, w := range strings.Split(l, " ") {
			if j > 0 {
				b.WriteByte(' ')
			}
			core := strings.TrimRightFunc(w, func(r rune) bool { return r != '-' && unicode.IsPunct(r) })
			if strings.HasPrefix(core, "--") {
				b.WriteString(bold(core) + escape(w[len(core):]))
			} else {
				b.WriteString(escape(w))
			}
		}
	}
	return b.String()
}

// flag writes a flag with its argument and its default.
func (p *page) flag(f *pflag.Flag) {
	argument, text := pflag.UnquoteUsage(f)
	tag := bold("--" + f.Name)
	if f.Shorthand != "" {
		tag = bold("-"+f.Shorthand) + ", " + tag
	}
	if argument != "" {
		tag += " " + italic(strings.ToLower(argument))
	}
	switch value := strings.Trim(f.DefValue, "[]"); value {
	case "", "0", "false":
	default:
		text += fmt.Sprintf("; by default %s", value)
	}
	p.item(tag, prose(text))
}
