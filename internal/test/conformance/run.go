// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"encoding/json"
	"errors"
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
	// Specs keep files in /tmp under names of their own, and dhcp's server keeps its leases. The
	// files of one column aren't for the other.
	for _, at := range []string{"/tmp", "/var/lib/misc"} {
		if out, err := b.Command("mount", "-t", "tmpfs", "tmpfs", at).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("mount %s: %w\n%s", at, err, out)
		}
	}
	private, err := os.MkdirTemp(dir, s.Plugin+"-")
	if err != nil {
		return nil, err
	}
	report := filepath.Join(private, "report.json")
	cmd := b.Command(filepath.Join(dir, s.Plugin+".test"), append(ginkgo, "-ginkgo.json-report="+report)...)
	cmd.Dir = filepath.Join(dir, "module", s.Dir)
	cmd.Env = append(os.Environ(), "CONFORMANCE_PLUGIN="+s.Plugin, "CONFORMANCE_PLUGINS="+plugins,
		"CONFORMANCE_HELPERS="+filepath.Join(dir, "helpers"),
		"PATH="+filepath.Join(plugins, daemons)+":"+plugins+":"+os.Getenv("PATH"), "TMPDIR=/tmp")
	out, err := cmd.CombinedOutput()
	text, bad := os.ReadFile(report)
	if bad != nil {
		return nil, fmt.Errorf("%w (%v)\n%s", bad, err, out)
	}
	specs, err := readReport(text)
	return specs, errors.Join(err, os.WriteFile(filepath.Join(private, "log"), out, 0o644))
}

// ginkgo are the flags of a suite. The order is the same each time, a spec that hangs ends, and one
// that fails is tried again. Many wait for a second at most, which isn't enough on a busy machine.
var ginkgo = []string{"-ginkgo.seed=1", "-ginkgo.flake-attempts=2", "-ginkgo.no-color", "-ginkgo.timeout=20m"}

// daemons is a directory beside plugins that the specs look into first. It holds a daemon that isn't
// the plugin itself.
const daemons = "daemons"

// AddDaemon has the specs of dhcp start swiftctl where they start the plugin as its daemon.
func AddDaemon(plugins, swiftctl string) error {
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = daemon ] || exec %q \"$@\"\nshift\nexec %q dhcp \"$@\"\n", filepath.Join(plugins, "dhcp"), swiftctl)
	if err := os.MkdirAll(filepath.Join(plugins, daemons), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(plugins, daemons, "dhcp"), []byte(script), 0o755)
}

// location is the place of a spec.
type location struct {
	FileName   string
	LineNumber int
}

// readReport reads Ginkgo's JSON report (its package types, type Report).
func readReport(text []byte) (specs []Spec, _ error) {
	var reports []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			LeafNodeLocation        location
			State                   string
			ReportEntries           []struct{ Name string }
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
			spec.Alone = len(s.ReportEntries) == 0
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
