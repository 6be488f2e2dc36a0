// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestExperiments runs each experiment but attach for real, at its smallest, and reads all three
// reports.
func TestExperiments(t *testing.T) {
	for _, e := range experiments() {
		if e.name == "attach" || e.name == "compare" {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			r, page := runReport(t, e.name, "-quick", "-n", "1", "-warmup", "1", "-settle", "5ms", "-only", strings.Join(testedBy(e), ","))
			for _, s := range r.Series {
				if len(s.Samples) == 0 && s.Failed == 0 || s.Reason != "" && !mayFail(s) {
					t.Errorf("%+v: %d samples, %d failed: %s", s.Key, len(s.Samples), s.Failed, s.Reason)
				}
				for _, micros := range s.times() {
					if !(micros > 0) {
						t.Errorf("%+v took %v µs", s.Key, micros)
					}
				}
			}
			for _, name := range testedBy(e) {
				if !strings.Contains(page, name) && r.Lacking[name] == "" {
					t.Errorf("the page lacks %s", name)
				}
			}
			checkFound(t, e.name, r)
		})
	}
}

// testedBy picks those who take part: not all of the reference's ways, each of which takes its
// time.
func testedBy(e experiment) []string {
	return slices.DeleteFunc(slices.Clone(e.only), func(name string) bool { return name == referenceIPTables || name == reference })
}

// mayFail knows of the black hole that a reused address can be, and of first answers on a machine
// that's busy. How often that is so is what the experiment measures.
func mayFail(s *Series) bool {
	return s.Verb == reuseGateway || s.Verb == reusePeer || strings.Contains(s.Verb, askedBy)
}

func checkFound(t *testing.T, name string, r *Report) {
	t.Helper()
	switch name {
	case "flat":
		if axes := distinct(r.Series, func(s *Series) string { return s.Axis }); len(axes) != 5 {
			t.Errorf("axes %v", axes)
		}
	case "burst":
		for _, s := range r.Series {
			if len(s.Samples) != s.At || s.rate() <= 0 {
				t.Errorf("%+v: %d samples, %v a second", s.Key, len(s.Samples), s.rate())
			}
			if s.Contention == nil {
				t.Errorf("%+v: contention %+v", s.Key, s.Contention)
			}
		}
	case "first":
		for _, what := range []string{fromGateway, fromContainer, fromOutside, reuseGateway, reusePeer} {
			if r.find(Key{Experiment: "first", Contestant: swiftcni, Verb: what}) == nil {
				t.Errorf("no reply %s", what)
			}
		}
		checkAnswers(t, r)
	case "inprocess":
		// Of attaching and detaching, without and with a Client.
		if len(r.Facts) != 4 || slices.ContainsFunc(r.Facts, func(f Fact) bool { return f.Value < 1 || f.Value > 1000 }) {
			t.Errorf("facts %+v", r.Facts)
		}
	case "waterfall":
		for i, s := range r.Steps {
			if want := marks()[i%(len(marks())-1)].step; s.Name != want || s.Micros <= 0 {
				t.Errorf("step %d is %+v, want %q", i, s, want)
			}
		}
		if len(r.Steps) != 2*2*(len(marks())-1) {
			t.Errorf("%d steps", len(r.Steps))
		}
	}
}

// runReport runs the program and returns its report and its page.
func runReport(t *testing.T, args ...string) (*Report, string) {
	t.Helper()
	dir := t.TempDir()
	var table, progress bytes.Buffer
	if err := run(append(args, "-out", dir), &table, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, progress.String(), table.String())
	}
	t.Log(table.String())
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	var r Report
	if err := json.Unmarshal(read("report.json"), &r); err != nil {
		t.Fatal(err)
	}
	if text := string(read("report.md")); !strings.Contains(text, "| --- |") {
		t.Errorf("report.md has no table:\n%s", text)
	}
	page := string(read("report.html"))
	for _, outside := range []string{"<script", "src=", "href=", "@import", "url(", "NaN"} {
		if strings.Contains(page, outside) {
			t.Errorf("report.html has %s", outside)
		}
	}
	return &r, page
}

// TestCompare compares a revision with itself: nobody wins.
func TestCompareRevisions(t *testing.T) {
	if _, err := (builder{root: "."}).git("rev-parse", "HEAD"); err != nil {
		t.Fatal(err)
	}
	r, page := runReport(t, "compare", "HEAD", "HEAD", "-n", "2", "-warmup", "1", "-traced", "1", "-settle", "5ms")
	if len(r.Series) != 4 || !strings.Contains(page, "no difference seen") {
		t.Errorf("%d series; page:\n%s", len(r.Series), page)
	}
	if a, b := r.Counts["A"][verbAdd], r.Counts["B"][verbAdd]; a.Own == 0 || a.Sends != b.Sends {
		t.Errorf("counts %+v, %+v", a, b)
	}
}

func TestVerdict(t *testing.T) {
	var a, same, faster []float64
	for i := range 60 {
		slow := 1 + float64(i*7%10)/10
		a, same, faster = append(a, 100*slow), append(same, 100*slow*(1+0.02*float64(i*11%5-2))), append(faster, 60*slow)
	}
	for _, c := range []struct {
		name string
		b    []float64
		want string
	}{{"faster", faster, "B takes 40.0 % less time"}, {"same", same, "no difference seen"}} {
		if _, _, text := verdict(a, c.b, 1); !strings.HasPrefix(text, c.want) {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
	if _, _, text := verdict(faster, a, 1); text != "B takes 66.7 % more time" {
		t.Errorf("slower: %q", text)
	}
}

func TestParseSteps(t *testing.T) {
	const trace = `         ? (         ): bridge/1  ... [continued]: execve())                                           = 0
     0.500 ( 0.020 ms): bridge/1 read(buf: 0x4e82, count: 4096)                               = 300
     0.700 ( 0.010 ms): bridge/1 flock(fd: 7</run/l/mynet/lock>, cmd: EX)                              = 0
     1.000 (         ): bridge/1 sendmsg(fd: 5<socket:[13759312]>, msg: 0x4e823a92eb8)              ...
     1.100 ( 0.300 ms): bridge/2 read(fd: 9, buf: 0x1, count: 1)                                          = 0
     1.000 ( 0.488 ms): bridge/1  ... [continued]: sendmsg())                                          = 292
     1.600 ( 0.016 ms): bridge/1 socket(family: NETLINK, type: RAW|CLOEXEC, protocol: 12)              = 6
     1.700 ( 0.015 ms): bridge/1 setns(fd: 4</run/netns/c3>, flags: 1073741824)                        = 0
     2.000 ( 0.030 ms): bridge/1 write(fd: 1</tmp/out>, buf: 0x4e823b08000, count: 587)                = 587
     2.100 (         ): bridge/1 exit_group()                                                          = ?
`
	steps, err := parseSteps(strings.NewReader(trace))
	if err != nil || len(steps) != 7 {
		t.Fatalf("%+v, %v", steps, err)
	}
	for i, want := range []float64{500, 200, 300, 600, 100, 300, 100} {
		if math.Abs(steps[i].Micros-want) > 1e-6 {
			t.Errorf("%s takes %v, want %v", steps[i].Name, steps[i].Micros, want)
		}
	}
	if veth := steps[3]; veth.Calls != 2 || math.Abs(veth.Kernel-788) > 1e-6 {
		t.Errorf("%+v", veth)
	}
	cut, _, _ := strings.Cut(trace, "     2.000")
	if _, err := parseSteps(strings.NewReader(cut)); err == nil {
		t.Error("a trace without an end is no error")
	}
}

// TestParseContention has a lock that's first spun on and then slept for, one that isn't RTNL, and
// RTNL again by a task that tells nothing of itself.
func TestParseContention(t *testing.T) {
	const trace = `   7 10.000100: lock:contention_begin: 0xffff01 (flags=SPIN|MUTEX)
	ffffffff82201d7e __mutex_lock.constprop.0
	ffffffff8220171b rtnl_dellink

   7 10.000200: lock:contention_begin: 0xffff01 (flags=MUTEX)
	ffffffff82201d7e __mutex_lock.constprop.0
	ffffffff8220171b rtnl_dellink

   8 10.000250: lock:contention_begin: 0xffff02 (flags=MUTEX)
	ffffffff82201d7e __mutex_lock.constprop.0
	ffffffff8220171b rcu_barrier
	ffffffff8220171b rtnl_dellink

   7 10.000400:   lock:contention_end: 0xffff01 (ret=0)
	ffffffff82201d7e __mutex_lock.constprop.0

   8 10.000500:   lock:contention_end: 0xffff02 (ret=0)
   9 10.001000: lock:contention_begin: 0xffff01 (flags=MUTEX)
	ffffffff82201d7e __mutex_lock.constprop.0
	ffffffff8220171b inet_rtm_newroute

   9 10.001050:   lock:contention_end: 0xffff01 (ret=0)
`
	rtnl := map[string]bool{}
	c, err := parseContention(strings.NewReader(trace), rtnl)
	if err != nil || c.Waits != 2 || math.Abs(c.Micros-350) > 0.01 || len(rtnl) != 1 {
		t.Errorf("%+v, RTNL is %v, %v; want 2 waits of 350 µs", c, rtnl, err)
	}
}

func TestLinearTicks(t *testing.T) {
	for end, want := range map[float64]string{1: "0 0.2 0.4 0.6 0.8 1", 3.7: "0 1 2 3", 9: "0 2 4 6 8", 17: "0 5 10 15", 6000: "0 1000 2000 3000 4000 5000 6000"} {
		var labels []string
		for _, tick := range linearTicks(end) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != want {
			t.Errorf("ticks to %v: %s, want %s", end, got, want)
		}
	}
}
