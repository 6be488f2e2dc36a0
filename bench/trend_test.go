// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// attached is a report of an attach, without what runs it.
func attached(commit string, micros float64) *Report {
	r := &Report{Date: time.Unix(1e9, 0).UTC(), Commit: commit}
	s := r.series(Key{Experiment: "attach", Contestant: swiftcni, Verb: verbAdd})
	s.Samples = []Sample{{Micros: micros}}
	r.Ratios = []Ratio{{Verb: verbDel, What: referenceIPTables + " / " + swiftcni, Paired: exactly(40)},
		{Verb: verbAdd, What: referenceIPTables + " / " + swiftcni, Paired: exactly(7.123)}}
	r.Counts = map[string]map[string]Counts{swiftcni: {verbAdd: {Own: 200, Faults: 250, RSS: 4000}}}
	r.Footprints = []Footprint{{Contestant: swiftcni, File: 4 << 20}}
	return r
}

func TestTrendFollowsTheReportThatIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	var r *Report
	for i := range longestTrend + 2 {
		r = attached(fmt.Sprint("c", i), 2000+float64(i))
		if err := r.follow(file); err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := r.json(&text); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	last := r.Trend[len(r.Trend)-1]
	want := Point{Date: r.Date, Commit: "c41", AddMicros: 2041, IPTables: 7.12, Syscalls: 200, Faults: 250, RSS: 4000, Bytes: 4 << 20}
	if len(r.Trend) != longestTrend || r.Trend[0].Commit != "c2" || last != want {
		t.Errorf("%d points from %s to %+v, want %d from c2 to %+v", len(r.Trend), r.Trend[0].Commit, last, longestTrend, want)
	}
	if svg, err := r.trendPlot().svg(); err != nil || !strings.Contains(svg, referenceIPTables) {
		t.Errorf("plot: %v", err)
	}
	other := &Report{}
	if err := other.follow(file); err != nil || len(other.Trend) != longestTrend {
		t.Errorf("a run of something else has a trend of %d, %v", len(other.Trend), err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := other.follow(file); err == nil {
		t.Error("half a report is no error")
	}
}

func TestFootprint(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := footprint("this", self)
	if err != nil {
		t.Fatal(err)
	}
	if sum := f.Text + f.ReadOnly + f.Functions + f.Data; f.Text == 0 || f.ReadOnly == 0 || f.Functions == 0 || f.Data == 0 || f.Zero == 0 || sum > f.File {
		t.Errorf("%+v", f)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if f, err := footprint("script", script); err != nil || f != (Footprint{Contestant: "script", Program: script, File: 10}) {
		t.Errorf("of a script: %+v, %v", f, err)
	}
	if _, err := footprint("none", script+"s"); err == nil {
		t.Error("what isn't there has a footprint")
	}
}

// TestShow tells a report again, from its file alone: the same tables, each plot as a file, and no
// point more in the trend.
func TestShow(t *testing.T) {
	dir := t.TempDir()
	doc := filepath.Join(dir, "doc.md")
	if err := os.WriteFile(doc, []byte("before\n<!-- bench burst -->\nold\n<!-- end -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := runReport(t, "burst", "-quick", "-n", "1", "-settle", "5ms", "-only", floor)
	r.Trend = []Point{{Commit: "one"}}
	var text bytes.Buffer
	if err := r.json(&text); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var said, progress bytes.Buffer
	if err := run([]string{"show", file, "-out", filepath.Join(dir, "out"), "-doc", doc}, &said, &progress); err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "| floor | ADD | 1 |", "![Attachments a second](out/attachments-a-second.svg)", "\nafter\n"} {
		if !strings.Contains(string(told), want) {
			t.Errorf("the document lacks %q:\n%s", want, told)
		}
	}
	again, err := os.ReadFile(filepath.Join(dir, "out", "report.json"))
	if err != nil || strings.Count(string(again), `"Commit":"one"`) != 1 || !strings.Contains(string(again), `"Trend":[{`) {
		t.Errorf("the report became another: %v", err)
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "out", "attachments-a-second.svg")); err != nil || !strings.HasPrefix(string(svg), "<svg") {
		t.Errorf("no plot: %v", err)
	}
	for _, args := range [][]string{{"show"}, {"show", doc}, {"show", filepath.Join(dir, "none")}} {
		if err := run(args, &said, &progress); err == nil {
			t.Errorf("%q is no error", args)
		}
	}
}
