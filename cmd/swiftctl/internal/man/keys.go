// SPDX-License-Identifier: Apache-2.0

package man

import (
	"fmt"
	"regexp"
	"strings"
)

// Keys is a page of section 5, made from a text in Markdown. The text has headings of three levels,
// paragraphs, lists, JSON, and tables. The other columns of a table explain the first one. Anything
// else of Markdown is an error.
func Keys(name, about, markdown string) ([]byte, error) {
	p := newPage(name, 5, about)
	p.section("Description")
	for block := range strings.SplitSeq(markdown, "\n\n") {
		for block != "" {
			var err error
			if block, err = p.block(strings.Trim(block, "\n")); err != nil {
				return nil, err
			}
		}
	}
	return p.Bytes(), nil
}

// block writes the first part of a block, and returns the rest of it.
func (p *page) block(block string) (rest string, err error) {
	first, rest, _ := strings.Cut(block, "\n")
	switch {
	case first == "", strings.HasPrefix(first, "# "):
		return rest, nil
	case strings.HasPrefix(first, "## "):
		p.section(strings.ReplaceAll(first[len("## "):], "`", ""))
		return rest, nil
	case strings.HasPrefix(first, "### "):
		p.subsection(strings.ReplaceAll(first[len("### "):], "`", ""))
		return rest, nil
	case strings.HasPrefix(first, "- "):
		p.list(block)
		return "", nil
	case strings.HasPrefix(first, "|"):
		return "", p.table(strings.Split(block, "\n"))
	case first == "```json":
		code, rest, _ := strings.Cut(rest, "```")
		p.example(strings.Split(strings.TrimSuffix(code, "\n"), "\n"))
		return rest, nil
	case strings.HasPrefix(first, "#"), strings.HasPrefix(first, "```"):
		return "", fmt.Errorf("a page can't have this: %q", first)
	}
	p.text(spans(block))
	return "", nil
}

// list writes the items of a list. Each begins with a dash, and its further lines are indented.
func (p *page) list(block string) {
	for item := range strings.SplitSeq(strings.TrimPrefix(block, "- "), "\n- ") {
		p.item(`\(bu`, spans(strings.ReplaceAll(item, "\n  ", "\n")))
	}
}

// table writes a row as an item: the first column, with the middle columns in parentheses, and the
// last column as its meaning.
func (p *page) table(rows []string) error {
	for i, row := range rows {
		cells := cells(row)
		switch {
		case len(cells) < 2:
			return fmt.Errorf("no row of a table with two columns or more: %q", row)
		case i < 2: // the head, and the line below it
			continue
		}
		tag := spans(cells[0])
		for _, c := range cells[1 : len(cells)-1] {
			if c != "" {
				tag += " (" + spans(c) + ")"
			}
		}
		p.item(line(tag), spans(cells[len(cells)-1]))
	}
	return nil
}

// cells are a row's cells, without the spaces around them. `\|` is a bar in one of them.
func cells(row string) (list []string) {
	row = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(row), "|"), "|")
	const bar = "\x00"
	for cell := range strings.SplitSeq(strings.ReplaceAll(row, `\|`, bar), "|") {
		list = append(list, strings.ReplaceAll(strings.TrimSpace(cell), bar, "|"))
	}
	return list
}

// link is a link of Markdown's: its text, and where it leads.
var link = regexp.MustCompile(`\[([^]]*)\]\(([^)]*)\)`)

// unlink shows where a link leads if that's somewhere in the web.
func unlink(md string) string {
	m := link.FindStringSubmatch(md)
	if strings.Contains(m[2], "://") {
		return m[1] + ", " + m[2]
	}
	return m[1]
}

// spans turns a text with code between backquotes and links into roff.
func spans(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(link.ReplaceAllStringFunc(text, unlink), "`") {
		if i%2 == 1 {
			b.WriteString(bold(part))
		} else {
			b.WriteString(escape(part))
		}
	}
	return b.String()
}
