// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/tool/build"
	"golang.org/x/sys/unix"
)

// An Outcome is a suite's specs after their runs, by name.
type Outcome struct {
	Suite        Suite
	Kernel       string // the guest's, if the suite ran in one
	Ours, Theirs []Spec
}

// Page is the text of docs/conformance.md. It has no time of its own, but the commit's, so that the
// same outcome is the same page.
func Page(root string, outcomes []Outcome, rows []Difference) (string, error) {
	version, err := output(root, filepath.Join("internal", "tool", "version.sh"))
	if err != nil {
		return "", err
	}
	commit, err := output(root, "git", "log", "-1", "--format=%h of %cs")
	if err != nil {
		return "", err
	}
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Conformance\n\n`make conformance` wrote this page. It ran the test suites of github.com/containernetworking/plugins %s, the reference, twice: by its\n"+
		"own programs and by swiftcni's. [differences.md](differences.md#specs-of-its-suites) says how.\n\n", build.ReferenceVersion)
	fmt.Fprintf(&b, "swiftcni %s, commit %s, Linux %s.%s\n\n", version, commit, unix.ByteSliceToString(kernel.Release[:]), elsewhere(outcomes))
	b.WriteString("| suite | specs | of them without the plugin | the reference passes | swiftcni passes | both fail | deviations |\n|---|---|---|---|---|---|---|\n")
	var sum Outcome
	var both, alone int
	for _, o := range outcomes {
		sum.Ours, sum.Theirs = append(sum.Ours, o.Ours...), append(sum.Theirs, o.Theirs...)
		unfit, deviations := o.failures()
		both, alone = both+unfit, alone+len(deviations)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d |\n", o.Suite.Plugin, len(o.Ours), without(o.Ours), passed(o.Theirs), passed(o.Ours), unfit, len(deviations))
	}
	fmt.Fprintf(&b, "| all | %d | %d | %d | %d | %d | %d |\n\n", len(sum.Ours), without(sum.Ours), passed(sum.Theirs), passed(sum.Ours), both, alone)
	b.WriteString("\"Both fail\" are specs that put a fault into the plugin's own process, give it input that libcni refuses, or need what this kernel\n" +
		"lacks. A spec fails if its second try does.\n\n\"Without the plugin\" are specs that call functions inside the reference's code, such as macvlan's createMacvlan. They execute no\n" +
		"plugin in either run, and so say nothing of swiftcni. Tests that aren't specs are of such functions, too, and aren't counted.\n\n## Deviations\nThese specs pass by the reference's programs and fail by swiftcni's. Each is meant. The numbers are lines of the suite's files.\n\n" +
		"| suite | spec | reason |\n|---|---|---|\n")
	for _, o := range outcomes {
		_, deviations := o.failures()
		for _, spec := range deviations {
			fmt.Fprintf(&b, "| %s | %s: %s | %s |\n", o.Suite.Plugin, spec.Name, strings.ReplaceAll(spec.Text, "|", `\|`), reason(o.Suite, spec, rows))
		}
	}
	return b.String(), nil
}

// elsewhere says which suites ran on another kernel.
func elsewhere(outcomes []Outcome) string {
	var plugins []string
	var kernel string
	for _, o := range outcomes {
		if o.Kernel != "" {
			plugins, kernel = append(plugins, o.Suite.Plugin), o.Kernel
		}
	}
	if kernel == "" {
		return ""
	}
	last := len(plugins) - 1
	return fmt.Sprintf("\n\nThe suites of %s and %s ran on Debian's Linux %s, in an emulator.", strings.Join(plugins[:last], ", "), plugins[last], kernel)
}

// failures are the number of specs that fail by both programs, and the specs that fail by ours alone.
func (o Outcome) failures() (both int, ours []Spec) {
	theirs := map[string]bool{}
	for _, spec := range o.Theirs {
		theirs[spec.Name] = spec.Passed
	}
	for _, spec := range o.Ours {
		switch {
		case spec.Passed:
		case theirs[spec.Name]:
			ours = append(ours, spec)
		default:
			both++
		}
	}
	return both, ours
}

func reason(s Suite, spec Spec, rows []Difference) string {
	for _, d := range rows {
		if d.covers(s, spec) {
			return d.Reason
		}
	}
	return "**none: this is a fault**"
}

func passed(specs []Spec) (n int) {
	for _, s := range specs {
		if s.Passed {
			n++
		}
	}
	return n
}

// without counts the specs that ran no plugin.
func without(specs []Spec) (n int) {
	for _, s := range specs {
		if s.Alone {
			n++
		}
	}
	return n
}

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
