// SPDX-License-Identifier: Apache-2.0

// Package bars draws times as bars, in text and as a picture.
package bars

import (
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"
)

// A Row is a bar: its median, in full colour, and its 99th percentile.
type Row struct {
	Name     string
	P50, P99 float64 // milliseconds
	Shade    Shade
}

// A Shade is a row's colour in a picture.
type Shade string

// Shades.
const (
	Others   Shade = "#b01c1c"
	Ours     Shade = "#0b5cd5"
	Resident Shade = "#5b9bf3"
	Empty    Shade = "#888888"
)

// A Group of rows has a title.
type Group struct {
	Title string
	Rows  []Row
}

// longest returns the width of the longest name, and the greatest value that f picks.
func longest(groups []Group, f func(Row) float64) (name int, value float64) {
	for _, g := range groups {
		for _, r := range g.Rows {
			name, value = max(name, utf8.RuneCountInString(short(r.Name))), max(value, f(r))
		}
	}
	return name, value
}

// short cuts a name to a length that leaves room for bars. The end of a path says more than its beginning.
func short(name string) string {
	const most = 28
	if runes := []rune(name); len(runes) > most {
		return "…" + string(runes[len(runes)-most+1:])
	}
	return name
}

// blocks are parts of a character, by eighths.
var blocks = []rune(" ▏▎▍▌▋▊▉")

// Text writes the groups as a table. A bar is a median.
func Text(w io.Writer, groups []Group) error {
	const columns = 40
	width, most := longest(groups, func(r Row) float64 { return r.P50 })
	var b strings.Builder
	fmt.Fprintf(&b, "     %-*s %8s %8s\n", width, "ms", "p50", "p99")
	for _, g := range groups {
		title := g.Title
		for _, r := range g.Rows {
			eighths := int(r.P50/most*columns*8 + 0.5)
			bar := strings.Repeat("█", eighths/8) + strings.TrimSpace(string(blocks[eighths%8]))
			fmt.Fprintf(&b, "%-4s %-*s %8.2f %8.2f  %s\n", title, width, short(r.Name), r.P50, r.P99, bar)
			title = ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// SVG writes the groups as a picture. A bar is a median, and the line beyond it leads to the 99th
// percentile. Notes are lines of text below.
func SVG(w io.Writer, title string, groups []Group, notes []string) error {
	const width, row, left, bar = 880, 24, 220, 510
	_, most := longest(groups, func(r Row) float64 { return r.P99 })
	var b strings.Builder
	text := func(x, y float64, style, s string) {
		fmt.Fprintf(&b, "<text x=%q y=%q %s>%s</text>\n", number(x), number(y), style, html.EscapeString(s))
	}
	y := 28.0
	text(16, y, `font-weight="bold"`, title)
	for _, g := range groups {
		y += row + 8
		text(16, y, `font-weight="bold"`, g.Title)
		for _, r := range g.Rows {
			text(left-8, y, `text-anchor="end"`, short(r.Name))
			end := left + bar*r.P50/most
			far := left + bar*r.P99/most
			fmt.Fprintf(&b, "<rect x=\"%d\" y=%q width=%q height=\"16\" fill=%q/>\n", left, number(y-13), number(end-left), r.Shade)
			fmt.Fprintf(&b, "<path d=\"M%s %sH%s\" stroke=%q stroke-width=\"2\"/>\n", number(end), number(y-5), number(far), r.Shade)
			text(max(end, far)+6, y, "", fmt.Sprintf("%.2f, %.2f ms", r.P50, r.P99))
			y += row
		}
		y -= row
	}
	y += 12
	for _, n := range append([]string{"Bars are medians. The lines beyond them lead to the 99th percentiles."}, notes...) {
		y += 18
		text(16, y, `font-size="12" fill="#444"`, n)
	}
	_, err := fmt.Fprintf(w, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" font-family=\"sans-serif\" font-size=\"14\">\n"+
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n%s</svg>\n", width, y+16, b.String())
	return err
}

func number(v float64) string { return fmt.Sprintf("%.1f", v) }
