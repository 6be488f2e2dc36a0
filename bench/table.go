// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"html"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// table can be printed in three ways: as text, Markdown and HTML.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...any) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = strings.Join(strings.Fields(fmt.Sprint(cell)), " ")
	}
	t.rows = append(t.rows, row)
}

// sort brings rows together that agree in the given columns, in the order in which they first come.
func (t *table) sort(columns ...int) {
	key := func(row []string) (k string) {
		for _, c := range columns {
			k += row[c] + "\x00"
		}
		return k
	}
	place := map[string]int{}
	for _, row := range t.rows {
		if _, ok := place[key(row)]; !ok {
			place[key(row)] = len(place)
		}
	}
	slices.SortStableFunc(t.rows, func(a, b []string) int { return cmp.Compare(place[key(a)], place[key(b)]) })
}

func (t *table) text(w io.Writer) {
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.head}, t.rows...) {
		fmt.Fprintln(tabs, strings.Join(row, "\t")+"\t")
	}
	tabs.Flush()
}

func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat(" --- |", len(t.head)))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	fmt.Fprintln(w)
}

func (t *table) html(w io.Writer) {
	row := func(tag string, cells []string) {
		fmt.Fprint(w, "<tr>")
		for _, cell := range cells {
			fmt.Fprintf(w, "<%s>%s</%[1]s>", tag, html.EscapeString(cell))
		}
		fmt.Fprintln(w, "</tr>")
	}
	fmt.Fprintln(w, `<div class="wide"><table>`)
	row("th", t.head)
	for _, cells := range t.rows {
		row("td", cells)
	}
	fmt.Fprintln(w, "</table></div>")
}

// levelTable has a row for each contestant and verb, and a column for each level.
func levelTable(axis string, list []*Series, cell func(*Series) string) table {
	t := table{head: []string{axis, ""}}
	rows := map[string]int{}
	for _, s := range list {
		name := s.Contestant + "\x00" + label(s)
		i, ok := rows[name]
		if !ok {
			i = len(t.rows)
			rows[name] = i
			t.add(s.Contestant, label(s))
		}
		if at := fmt.Sprint(s.At); !slices.Contains(t.head[2:], at) {
			t.head = append(t.head, at)
		}
		t.rows[i] = append(t.rows[i], cell(s))
	}
	return t
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
