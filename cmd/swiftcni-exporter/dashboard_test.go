// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A metric is one that a scrape has.
type metric struct {
	kind   string
	labels []string
}

// labelText is how the docs list the labels.
func (m *metric) labelText() string {
	var list []string
	for _, l := range m.labels {
		list = append(list, "`"+l+"`")
	}
	return strings.Join(list, ", ")
}

var (
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`)
	sampleLine = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? \S+$`)
	labelName  = regexp.MustCompile(`(\w+)=`)
)

// series are the metrics of a scrape, with the labels of their samples.
func series(text string) map[string]*metric {
	all := map[string]*metric{}
	for _, m := range typeLine.FindAllStringSubmatch(text, -1) {
		all[m[1]] = &metric{kind: m[2]}
	}
	for _, m := range sampleLine.FindAllStringSubmatch(text, -1) {
		of := all[base(m[1], all)]
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if of != nil && l[1] != "le" && !slices.Contains(of.labels, l[1]) {
				of.labels = append(of.labels, l[1])
			}
		}
	}
	return all
}

// base is the metric that a sample belongs to.
func base(name string, all map[string]*metric) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if of, cut := strings.CutSuffix(name, suffix); cut && all[of] != nil && all[of].kind == "histogram" {
			return of
		}
	}
	return name
}

// queries are those of a dashboard's panels and variables.
func queries(t *testing.T, path string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Title, UID string
		Panels     []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct {
				Type  string
				Query any
			}
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		if p.Title == "" || p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			list = append(list, target.Expr)
		}
	}
	if d.UID == "" || d.Title == "" || len(list) < 10 {
		t.Errorf("%s %s: %d queries", d.Title, d.UID, len(list))
	}
	return list
}

var (
	asked   = regexp.MustCompile(`\b(swiftcni_\w+)(?:\{([^}]*)\})?`)
	grouped = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// asks checks that a query's metrics and labels are there, and that its brackets match.
func asks(query string, there map[string]*metric) error {
	var labels []string
	found := asked.FindAllStringSubmatch(query, -1)
	for _, m := range found {
		of := there[base(m[1], there)]
		if of == nil {
			return fmt.Errorf("there's no %s", m[1])
		}
		if of.kind == "histogram" && base(m[1], there) == m[1] {
			return fmt.Errorf("%s is a histogram, without _bucket, _sum or _count", m[1])
		}
		labels = append(labels, of.labels...)
		for _, l := range labelName.FindAllStringSubmatch(strings.NewReplacer("=~", "=", "!=", "=", "!~", "=").Replace(m[2]), -1) {
			if !slices.Contains(of.labels, l[1]) && l[1] != "instance" {
				return fmt.Errorf("%s has no label %s", m[1], l[1])
			}
		}
	}
	for _, m := range grouped.FindAllStringSubmatch(query, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); l != "le" && l != "instance" && !slices.Contains(labels, l) {
				return fmt.Errorf("no label %s", l)
			}
		}
	}
	if len(found) == 0 || strings.Count(query, "(") != strings.Count(query, ")") || strings.Count(query, "{") != strings.Count(query, "}") {
		return fmt.Errorf("it isn't a query")
	}
	return nil
}
