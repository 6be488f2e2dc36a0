// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// Run runs one of the suites that [Build] made in dir with the executables in plugins. It does so
// on a host in a box whose PID 1 is an init, so that the work that a plugin leaves to children
// doesn't show in a spec. The calling program calls [box.Main] first.
func Run(dir string, s Suite, plugins string) ([]Spec, error) {
	b, err := box.Start(box.Options{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	// Specs keep files in /tmp under names of their own. The files of one column aren't for the
	// other.
	if out, err := b.Command("mount", "-t", "tmpfs", "tmpfs", "/tmp").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mount /tmp: %w\n%s", err, out)
	}
	private, err := os.MkdirTemp(dir, s.Plugin+"-")
	if err != nil {
		return nil, err
	}
	report := filepath.Join(private, "report.json")
	// The order is the same each time, a spec that hangs ends, and one that fails is tried again.
	// Many wait for a second at most, which isn't enough on a busy machine.
	cmd := b.Command(filepath.Join(dir, s.Plugin+".test"), "-ginkgo.seed=1", "-ginkgo.flake-attempts=2",
		"-ginkgo.no-color", "-ginkgo.timeout=8m", "-ginkgo.json-report="+report)
	cmd.Dir = filepath.Join(dir, "module", s.Dir)
	cmd.Env = append(os.Environ(), "CONFORMANCE_PLUGIN="+s.Plugin, "CONFORMANCE_PLUGINS="+plugins,
		"CONFORMANCE_HELPERS="+filepath.Join(dir, "helpers"), "PATH="+plugins+":"+os.Getenv("PATH"), "TMPDIR=/tmp")
	out, err := cmd.CombinedOutput()
	specs, bad := readReport(report)
	if bad != nil {
		return nil, fmt.Errorf("%w (%v)\n%s", bad, err, out)
	}
	return specs, os.WriteFile(filepath.Join(private, "log"), out, 0o644)
}

// location is the place of a spec.
type location struct {
	FileName   string
	LineNumber int
}

// readReport reads Ginkgo's JSON report (its package types, type Report).
func readReport(path string) (specs []Spec, _ error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			LeafNodeLocation        location
			State                   string
			Failure                 struct {
				Message  string
				Location location
			}
		}
	}
	if err := json.Unmarshal(text, &reports); err != nil {
		return nil, err
	}
	for _, r := range reports {
		for _, s := range r.SpecReports {
			if s.LeafNodeType != "It" && s.State == "passed" {
				continue
			}
			spec := Spec{Passed: s.State == "passed", Text: strings.Join(append(s.ContainerHierarchyTexts, s.LeafNodeText), " ")}
			spec.Name = place(s.LeafNodeLocation)
			if v := inBrackets.FindString(spec.Text); v != "" {
				spec.Name += " " + v
			}
			if !spec.Passed {
				spec.Message = fmt.Sprintf("%s at %s: %s", s.State, place(s.Failure.Location), s.Failure.Message)
			}
			specs = append(specs, spec)
		}
	}
	number(specs)
	return specs, nil
}

var inBrackets = regexp.MustCompile(`\[[0-9.]+\]`)

func place(l location) string { return fmt.Sprintf("%s:%d", filepath.Base(l.FileName), l.LineNumber) }

// number numbers the specs that are in one place.
func number(specs []Spec) {
	slices.SortFunc(specs, func(a, b Spec) int {
		return strings.Compare(a.Name+"\x00"+a.Text, b.Name+"\x00"+b.Text)
	})
	for i := 0; i < len(specs); {
		j := i + 1
		for j < len(specs) && specs[j].Name == specs[i].Name {
			j++
		}
		for n := i; j-i > 1 && n < j; n++ {
			specs[n].Name += fmt.Sprintf(" #%d", n-i+1)
		}
		i = j
	}
}
