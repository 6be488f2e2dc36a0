// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Report is the result of a run, with everything that is needed to judge and to repeat it.
type Report struct {
	Date      time.Time
	Commit    string
	Kernel    string
	Guest     string `json:",omitempty"` // the emulated kernel, if it was measured on one
	CPU       string
	CPUs      int
	GoVersion string
	Load      string // load average of the machine's last minute, when the run began
	Busy      int    `json:",omitempty"` // jobs that kept a processor busy each
	IPTables  string // iptables' version and variant, which the reference executes
	Command   []string
	Method    string
	Seed      uint64
	Plans     []plan
	Absent    map[string]string `json:",omitempty"` // contestants that couldn't run, and why
	results
	Footprints []Footprint `json:",omitempty"`
	Ratios     []Ratio     `json:",omitempty"`
	Trend      []Point     `json:",omitempty"` // with the reports that this one has replaced

	root string
}

const method = "One contestant at a time (but in bursts), never pinned: the plugin may use every CPU. Time is from before vfork to after wait4, " +
	"taken by a small static program (floor/launch.c), with standard input already in a pipe. Each contestant has a host network namespace of its own, each attachment " +
	"a new container namespace made beforehand; namespaces end together after each round. " +
	"Leases are on tmpfs. Rounds are shuffled; ADD and DEL of a contestant follow each other after a pause."

func newReport(root string, command []string, o options) *Report {
	var name unix.Utsname
	_ = unix.Uname(&name) // fails only for a bad pointer
	return &Report{
		Date: time.Now().UTC().Truncate(time.Second), Commit: builder{root: root}.commit(),
		Kernel: unix.ByteSliceToString(name.Release[:]), CPU: cpuModel(), CPUs: runtime.NumCPU(), Load: loadAverage(), Busy: o.busy,
		GoVersion: runtime.Version(), IPTables: ipTables(), Method: method, Command: command, Seed: o.seed,
		Absent: map[string]string{}, root: root,
	}
}

func cpuModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	averages, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(averages), " ")
	return first
}

func ipTables() string {
	out, err := exec.Command("iptables", "--version").Output()
	if err != nil {
		return "none"
	}
	return strings.TrimSpace(string(out))
}

// contestants are those of an experiment, or of all if none is named, each once.
func (r *Report) contestants(of ...string) (list []Contestant) {
	for _, p := range r.Plans {
		if of != nil && !slices.Contains(of, p.Experiment) {
			continue
		}
		for _, c := range p.Contestants {
			if !slices.ContainsFunc(list, func(other Contestant) bool { return other.Name == c.Name }) {
				list = append(list, c)
			}
		}
	}
	return list
}

// write writes the report as text to stdout, and into files if they are wanted.
func (r *Report) write(o options, stdout io.Writer) error {
	r.Ratios = r.ratios()
	var sections []section
	for _, e := range o.experiments {
		sections = append(sections, e.show(r))
	}
	if o.out != "" && o.report == "" {
		if err := r.follow(filepath.Join(o.out, "report.json")); err != nil {
			return err
		}
	}
	if len(r.Trend) > 0 {
		sections = append(sections, r.showTrend())
	}
	r.text(stdout, sections)
	if o.doc != "" {
		if err := r.intoDocument(o, sections); err != nil {
			return err
		}
	}
	files := map[string]func(io.Writer) error{}
	if o.json != "" {
		files[o.json] = r.json
	}
	if o.out != "" {
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
		files[filepath.Join(o.out, "report.json")] = r.json
		files[filepath.Join(o.out, "report.md")] = func(w io.Writer) error { return r.markdown(w, sections) }
		files[filepath.Join(o.out, "report.html")] = func(w io.Writer) error { return r.html(w, sections) }
		for _, f := range figures(sections) {
			files[filepath.Join(o.out, f.file())] = f.write
		}
	}
	for name, write := range files {
		var text bytes.Buffer
		if err := errors.Join(write(&text), os.WriteFile(name, text.Bytes(), 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// pictures puts a section's plots, as files of the report, into a document.
func (o *options) pictures(w io.Writer, s section) error {
	if o.out == "" {
		return nil
	}
	to, err := filepath.Rel(filepath.Dir(o.doc), o.out)
	if err != nil {
		return err
	}
	for _, f := range figures([]section{s}) {
		fmt.Fprintf(w, "![%s](%s)\n\n", f.title, filepath.Join(to, f.file()))
	}
	return nil
}

// show writes an earlier report again.
func show(root string, o options, stdout io.Writer) error {
	text, err := os.ReadFile(o.report)
	if err != nil {
		return err
	}
	r := &Report{root: root}
	if err := json.Unmarshal(text, r); err != nil {
		return fmt.Errorf("%s: %w", o.report, err)
	}
	for _, p := range r.Plans {
		e := findExperiment(p.Experiment)
		if e == nil {
			return fmt.Errorf("%s: unknown experiment %q", o.report, p.Experiment)
		}
		if !slices.ContainsFunc(o.experiments, func(other experiment) bool { return other.name == e.name }) {
			o.experiments = append(o.experiments, *e)
		}
	}
	return r.write(o, stdout)
}

// json writes raw samples. A report travels, so it names programs from the top of the tree.
func (r *Report) json(w io.Writer) error {
	encoded, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = w.Write(append(bytes.ReplaceAll(encoded, []byte(r.root+"/"), nil), '\n'))
	return err
}

// head says when and where the report was made, and of which commit.
func (r *Report) head() string {
	busy := ""
	if r.Busy > 0 {
		busy = fmt.Sprintf(" and %d busy processors", r.Busy)
	}
	kernel := r.Kernel
	if r.Guest != "" {
		kernel = r.Guest + ", emulated by qemu (a nanosecond an instruction) on " + kernel
	}
	return fmt.Sprintf("%s, commit %s, Linux %s, %d × %s, %s, %s, load %s%s, seed %d", r.Date.Format("2006-01-02 15:04"),
		r.Commit, kernel, r.CPUs, r.CPU, r.GoVersion, r.IPTables, r.Load, busy, r.Seed)
}

func (r *Report) text(w io.Writer, sections []section) {
	fmt.Fprintf(w, "\n%s\n", r.head())
	for _, s := range sections {
		fmt.Fprintf(w, "\n%s\n", s.title)
		if s.text != "" {
			fmt.Fprintln(w, s.text)
		}
		for _, t := range s.tables {
			if len(t.rows) > 0 {
				fmt.Fprintln(w)
				t.text(w)
			}
		}
	}
	for _, name := range sortedKeys(r.Absent) {
		fmt.Fprintf(w, "\nabsent: %s: %s\n", name, r.Absent[name])
	}
}

// again is the command line that repeats the report, from the root of the repository.
func (r *Report) again() string {
	return strings.Join(append([]string{"go -C bench run ."}, r.Command[1:]...), " ")
}

func (r *Report) markdown(w io.Writer, sections []section) error {
	fmt.Fprintf(w, "# Benchmarks\n\n%s.\n\n%s\n\nTo repeat it: `%s`\n\n", r.head(), r.Method, r.again())
	for _, s := range sections {
		fmt.Fprintf(w, "## %s\n\n", s.title)
		s.markdown(w)
	}
	return nil
}

func (s *section) markdown(w io.Writer) {
	if s.text != "" {
		fmt.Fprintf(w, "%s\n\n", s.text)
	}
	for _, t := range s.tables {
		if len(t.rows) > 0 {
			t.markdown(w)
		}
	}
}

// intoDocument writes each section between a document's lines `<!-- bench NAME -->` and `<!-- end
// -->`, or its first table alone below `<!-- bench NAME brief -->`. A document has places for the
// sections that it wants. The text outside of them isn't changed.
func (r *Report) intoDocument(o options, sections []section) error {
	text, err := os.ReadFile(o.doc)
	if err != nil {
		return err
	}
	document, places := string(text), 0
	for i, e := range o.experiments {
		for _, brief := range []bool{false, true} {
			begin, end := "<!-- bench "+e.name+" -->\n", "<!-- end -->"
			if brief {
				begin = "<!-- bench " + e.name + " brief -->\n"
			}
			before, rest, found := strings.Cut(document, begin)
			if !found {
				continue
			}
			_, after, ended := strings.Cut(rest, end)
			if !ended {
				return fmt.Errorf("%s has no line %q below %q", o.doc, end, strings.TrimSpace(begin))
			}
			content, err := r.inDocument(o, sections[i], brief)
			if err != nil {
				return err
			}
			document = before + begin + content + end + after
			places++
		}
	}
	if places == 0 {
		return fmt.Errorf("%s has no place for a section, such as a line %q", o.doc, "<!-- bench "+o.experiments[0].name+" -->")
	}
	return os.WriteFile(o.doc, []byte(document), 0o644)
}

func (r *Report) inDocument(o options, s section, brief bool) (string, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "\n%s. `%s`\n\n", r.head(), r.again())
	if brief {
		s.tables = s.tables[:min(1, len(s.tables))]
		s.text = ""
	}
	s.markdown(&text)
	if brief {
		return text.String(), nil
	}
	err := o.pictures(&text, s)
	return text.String(), err
}
