// SPDX-License-Identifier: Apache-2.0

// Command vulns makes a vulnerability database for govulncheck from the module golang.org/x/vulndb.
// It leaves out what concerns other systems than Linux alone: govulncheck tells the systems, but finds
// such a function wherever it's called.
// The module comes by the same way as any other, if vuln.go.dev can't be reached. The form is that
// of https://go.dev/doc/security/vuln/database.
//
//	go run ./internal/tool/vulns DIR-OF-THE-MODULE DATABASE
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// report is the part of a report in the form of OSV (https://ossf.github.io/osv-schema) that the
// index needs.
type report struct {
	ID       string   `json:"id"`
	Modified string   `json:"modified"`
	Aliases  []string `json:"aliases,omitempty"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
		Ranges []struct {
			Events []struct {
				Fixed string `json:"fixed"`
			} `json:"events"`
		} `json:"ranges"`
		Specific struct {
			Imports []struct {
				GOOS []string `json:"goos"`
			} `json:"imports"`
		} `json:"ecosystem_specific"`
	} `json:"affected"`
}

type moduleVuln struct {
	ID       string `json:"id"`
	Modified string `json:"modified"`
	Fixed    string `json:"fixed,omitempty"`
}

type module struct {
	Path  string       `json:"path"`
	Vulns []moduleVuln `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: vulns DIR-OF-THE-MODULE DATABASE")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "vulns:", err)
		os.Exit(1)
	}
}

func run(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "data", "osv", "GO-*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no reports below %s: %v", from, err)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			return err
		}
	}
	modules := map[string][]moduleVuln{}
	var reports []report
	newest := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if r.elsewhere() {
			continue
		}
		if err := os.WriteFile(filepath.Join(to, "ID", filepath.Base(file)), text, 0o644); err != nil {
			return err
		}
		newest = max(newest, r.Modified)
		for path, fixed := range r.fixes() {
			modules[path] = append(modules[path], moduleVuln{ID: r.ID, Modified: r.Modified, Fixed: fixed})
		}
		r.Affected = nil
		reports = append(reports, r)
	}
	list := make([]module, 0, len(modules))
	for path, vulns := range modules {
		list = append(list, module{Path: path, Vulns: vulns})
	}
	slices.SortFunc(list, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	for name, v := range map[string]any{"db": map[string]string{"modified": newest}, "modules": list, "vulns": reports} {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "index", name+".json"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere reports whether Linux isn't affected. A report that names no package or no system is about
// all of them.
func (r *report) elsewhere() bool {
	for _, a := range r.Affected {
		if len(a.Specific.Imports) == 0 {
			return false
		}
		for _, i := range a.Specific.Imports {
			if len(i.GOOS) == 0 || slices.Contains(i.GOOS, "linux") {
				return false
			}
		}
	}
	return true
}

// fixes returns the modules that a report is about, each with the last version that fixes it, if
// there is one.
func (r *report) fixes() map[string]string {
	fixes := map[string]string{}
	for _, a := range r.Affected {
		fixed := ""
		for _, rng := range a.Ranges {
			for _, e := range rng.Events {
				if e.Fixed != "" {
					fixed = e.Fixed
				}
			}
		}
		fixes[a.Package.Name] = fixed
	}
	return fixes
}
