// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// A Difference is a row of docs/differences.md: a deliberate difference from the reference.
type Difference struct {
	Line    int
	Plugins string
	Specs   []string // only in the table of specs: those that can't pass, see [Difference.covers]
	Reason  string   // only in the table of specs
	Tests   []string // tests that hold it
}

var quoted = regexp.MustCompile("`([^`]+)`")

// Differences reads the page's tables. The first column names plugins, the last one tests. If the
// second column's head is "specs", that column lists specs.
func Differences(path string) (list []Difference, _ error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var head []string
	for i, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			head = nil
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		switch {
		case head == nil:
			head = cells
			continue
		case strings.HasPrefix(line, "|---"):
			continue
		case len(cells) != len(head):
			return nil, fmt.Errorf("line %d has %d cells, its head has %d", i+1, len(cells), len(head))
		case strings.TrimSpace(head[len(head)-1]) != "test":
			continue
		}
		d := Difference{Line: i + 1, Plugins: strings.TrimSpace(cells[0]), Tests: allQuoted(cells[len(cells)-1])}
		if strings.TrimSpace(head[1]) == "specs" {
			d.Specs, d.Reason = allQuoted(cells[1]), strings.TrimSpace(cells[2])
		}
		list = append(list, d)
	}
	return list, nil
}

func allQuoted(cell string) (list []string) {
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// covers reports whether the row lists a spec: by its whole name, or by its place, for all versions
// or for those that follow it in brackets, as in `static_test.go:37 [0.1.0] [0.2.0]`.
func (d *Difference) covers(s Suite, spec Spec) bool {
	if d.Plugins != s.Plugin {
		return false
	}
	for _, listed := range d.Specs {
		place, versions, some := strings.Cut(listed, " ")
		name, rest, _ := strings.Cut(spec.Name, " ")
		version, _, _ := strings.Cut(rest, " ")
		part := !strings.Contains(versions, "#")
		if listed == spec.Name || name == place && part && (!some || strings.Contains(versions, version)) {
			return true
		}
	}
	return false
}
