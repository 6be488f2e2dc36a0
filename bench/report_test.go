// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIntoDocument(t *testing.T) {
	file := filepath.Join(t.TempDir(), "performance.md")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o, err := parseFlags([]string{"waterfall", "-doc", file}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := &Report{results: results{Steps: []Step{{Contestant: swiftcni, Name: "lease", Micros: 12}}}, Command: []string{"bench", "waterfall"}}
	write("# Text\n<!-- bench waterfall -->\nold\n<!-- end -->\nmore <!-- end -->\n")
	for range 2 { // the second time replaces what the first one wrote
		if err := r.write(o, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	if !strings.HasPrefix(got, "# Text\n<!-- bench waterfall -->\n") || !strings.HasSuffix(got, "<!-- end -->\nmore <!-- end -->\n") ||
		strings.Count(got, "| swiftcni | 0 | lease | 0 | 12 | 0 | 0 |") != 1 || strings.Contains(got, "old") {
		t.Errorf("document:\n%s", got)
	}
	write("# Text\n<!-- bench waterfall brief -->\n<!-- end -->\n")
	if err := r.write(o, io.Discard); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Count(string(text), "| lease |") != 1 {
		t.Errorf("document: %v\n%s", err, text)
	}
	write("<!-- bench waterfall -->\nno end\n")
	if err := r.write(o, io.Discard); err == nil || !strings.Contains(err.Error(), "<!-- end -->") {
		t.Errorf("error %v", err)
	}
	write("# No place\n")
	if err := r.write(o, io.Discard); err == nil || !strings.Contains(err.Error(), "bench waterfall") {
		t.Errorf("error %v", err)
	}
}

func TestTableInMarkdown(t *testing.T) {
	list := []*Series{
		{Key: Key{At: 0, Contestant: "a", Verb: verbAdd}}, {Key: Key{At: 0, Contestant: emptyC, Verb: verbAdd}},
		{Key: Key{At: 7, Contestant: "a", Verb: verbAdd}}, {Key: Key{At: 7, Contestant: emptyC, Verb: verbAdd}},
	}
	table := levelTable("leases", list, func(s *Series) string { return s.Contestant + strings.Repeat("!", s.At) })
	var text strings.Builder
	table.markdown(&text)
	want := "| leases |  | 0 | 7 |\n| --- | --- | --- | --- |\n| a | ADD | a | a!!!!!!! |\n| empty-c | run | empty-c | empty-c!!!!!!! |\n\n"
	if text.String() != want {
		t.Errorf("got:\n%swant:\n%s", text.String(), want)
	}
}
