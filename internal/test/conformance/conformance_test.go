// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/tool/build"
)

var (
	reference = flag.Bool("conformance.reference", false, "run the reference's own programs as well")
	update    = flag.Bool("conformance.update", false, "rewrite the list of specs that the reference's own programs fail")
	only      = flag.String("conformance.suites", "", "only these suites, separated by commas")
	report    = flag.String("conformance.page", "", "a file for the outcome, as docs/conformance.md; for all suites, with -conformance.reference")
)

const (
	root = "../../.."
	page = root + "/docs/differences.md"
	// unfit lists the specs that don't pass when the reference's own programs are executed: they
	// put a fault into the plugin's process, give it no interface name, or need what the kernel
	// lacks.
	unfit = "testdata/unfit.txt"
)

func TestMain(m *testing.M) {
	box.Main()
	os.Exit(m.Run())
}

// TestConformance has swiftcni pass whatever spec the reference passes, but for those that the page
// lists.
func TestConformance(t *testing.T) {
	must(t, os.MkdirAll(root+"/.cache", 0o755))
	cache, err := filepath.Abs(root + "/.cache") // not below /tmp, which is empty in a box
	must(t, err)
	dir, err := os.MkdirTemp(cache, "conformance-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if *report != "" && !*reference {
		t.Fatal("-conformance.page needs -conformance.reference")
	}
	suites := slices.DeleteFunc(Suites(), func(s Suite) bool {
		return *only != "" && !slices.Contains(strings.Split(*only, ","), s.Plugin)
	})
	must(t, Build(dir, suites, *reference || *update))
	ours := filepath.Join(dir, "ours")
	must(t, build.Swiftcni(io.Discard, root, ours, ""))
	swiftctl := filepath.Join(dir, "swiftctl")
	must(t, build.Swiftctl(io.Discard, root, swiftctl))
	must(t, AddDaemon(ours, swiftctl))
	rows, err := Differences(page)
	must(t, err)
	outcomes := make([]Outcome, len(suites))
	t.Run("suites", func(t *testing.T) {
		if slices.ContainsFunc(suites, func(s Suite) bool { return s.Guest }) {
			t.Run("guest", func(t *testing.T) {
				t.Parallel()
				inGuest(t, dir, suites, ours, outcomes)
			})
		}
		for i, s := range suites {
			if !s.Guest {
				t.Run(s.Plugin, func(t *testing.T) {
					t.Parallel()
					onHost(t, dir, s, ours, &outcomes[i])
				})
			}
		}
	})
	for _, o := range outcomes {
		t.Run(o.Suite.Plugin, func(t *testing.T) { judge(t, dir, o, rows) })
	}
	if *update {
		must(t, writeUnfit(dir, suites))
	}
	if *report != "" {
		text, err := Page(root, outcomes, rows)
		must(t, err)
		must(t, os.WriteFile(*report, []byte(text), 0o644))
	}
}

// onHost runs a suite on the machine's own kernel.
func onHost(t *testing.T, dir string, s Suite, ours string, o *Outcome) {
	var err error
	o.Suite = s
	o.Ours, err = Run(dir, s, ours)
	must(t, err)
	if *reference || *update {
		o.Theirs, err = Run(dir, s, filepath.Join(dir, "reference"))
		must(t, err)
	}
}

// inGuest runs the suites that need a guest.
func inGuest(t *testing.T, dir string, suites []Suite, ours string, outcomes []Outcome) {
	guest := slices.DeleteFunc(slices.Clone(suites), func(s Suite) bool { return !s.Guest })
	specs, kernel, err := RunGuest(t.Context(), dir, guest, ours, filepath.Join(root, ".cache", "kernels"))
	must(t, err)
	var theirs map[string][]Spec
	if *reference || *update {
		theirs, _, err = RunGuest(t.Context(), dir, guest, filepath.Join(dir, "reference"), filepath.Join(root, ".cache", "kernels"))
		must(t, err)
	}
	for i, s := range suites {
		if s.Guest {
			outcomes[i] = Outcome{Suite: s, Kernel: kernel, Ours: specs[s.Plugin], Theirs: theirs[s.Plugin]}
		}
	}
}

// judge says of each spec that fails why it may.
func judge(t *testing.T, dir string, o Outcome, rows []Difference) {
	s := o.Suite
	excused, err := readUnfit(s)
	must(t, err)
	if *reference || *update {
		excused = map[string]bool{}
		for _, spec := range o.Theirs {
			excused[spec.Name] = !spec.Passed
		}
		t.Logf("the reference passes %d of %d", passed(o.Theirs), len(o.Theirs))
		must(t, os.WriteFile(filepath.Join(dir, s.Plugin+".unfit"), []byte(unfitText(s, o.Theirs)), 0o644))
	}
	t.Logf("swiftcni passes %d of %d", passed(o.Ours), len(o.Ours))
	if len(o.Ours) == 0 {
		t.Error("no specs")
	}
	for _, spec := range o.Ours {
		listed := slices.ContainsFunc(rows, func(d Difference) bool { return d.covers(s, spec) })
		switch {
		case spec.Passed && listed && !excused[spec.Name]:
			t.Logf("%s passes, though the page lists it", spec.Name)
		case !spec.Passed && !listed && !excused[spec.Name]:
			t.Errorf("%s, %s\n%s", spec.Name, spec.Text, spec.Message)
		}
	}
}

// A line of the list is a plugin, a blank, and a spec's name.
func readUnfit(s Suite) (map[string]bool, error) {
	text, err := os.ReadFile(unfit)
	list := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), s.Plugin+" "); ok {
			list[name] = true
		}
	}
	return list, err
}

func unfitText(s Suite, theirs []Spec) string {
	var b strings.Builder
	for _, spec := range theirs {
		if !spec.Passed {
			b.WriteString(s.Plugin + " " + spec.Name + "\n")
		}
	}
	return b.String()
}

func writeUnfit(dir string, suites []Suite) error {
	var all []byte
	for _, s := range suites {
		text, err := os.ReadFile(filepath.Join(dir, s.Plugin+".unfit"))
		if err != nil {
			return err
		}
		all = append(all, text...)
	}
	return os.WriteFile(unfit, all, 0o644)
}

// TestDifferences finds each test that the page says holds a difference.
func TestDifferences(t *testing.T) {
	rows, err := Differences(page)
	must(t, err)
	there := testNames(t)
	for _, d := range rows {
		if len(d.Tests) == 0 {
			t.Errorf("line %d names no test", d.Line)
		}
		for _, name := range d.Tests {
			if !there[name] {
				t.Errorf("line %d: there's no test %s", d.Line, name)
			}
		}
	}
	if len(rows) < 10 {
		t.Errorf("only %d rows found", len(rows))
	}
}

// testNames are the repository's tests, and its scripts as script/NAME.
func testNames(t *testing.T) map[string]bool {
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch base := filepath.Base(path); {
		case err != nil:
			return err
		case d.IsDir() && base != ".." && strings.HasPrefix(base, "."):
			return filepath.SkipDir
		case strings.HasSuffix(base, ".txtar"):
			names["script/"+strings.TrimSuffix(base, ".txtar")] = true
		case strings.HasSuffix(base, "_test.go"):
			text, err := os.ReadFile(path)
			for _, m := range function.FindAllSubmatch(text, -1) {
				names[string(m[1])] = true
			}
			return err
		}
		return nil
	}))
	return names
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
