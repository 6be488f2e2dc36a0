// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// licensesName is the file with the licences of what the programs link: most ask that their text comes along.
const licensesName = "LICENSES-OF-MODULES"

// documents are the texts that come with the programs.
func (r *release) documents(b *built) (t tree, err error) {
	for _, name := range []string{"CHANGELOG.md", "LICENSE", "README.md"} {
		data, err := os.ReadFile(r.in(name))
		if err != nil {
			return nil, err
		}
		t = append(t, file{name: name, data: data})
	}
	licenses, err := r.licenses(b)
	return append(t, file{name: licensesName, data: licenses}), err
}

// licenses are those of Go itself, and of each module that a program links.
func (r *release) licenses(b *built) ([]byte, error) {
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := appendLicenses(&text, "Go, its runtime and standard library", strings.TrimSpace(goroot)); err != nil {
		return nil, err
	}
	dirs, err := r.moduleDirs(b)
	if err != nil {
		return nil, err
	}
	for _, line := range dirs {
		module, dir, _ := strings.Cut(line, "\t")
		if err := appendLicenses(&text, module, dir); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// moduleDirs are the modules that the programs link, each with its version and, after a tab, its directory.
func (r *release) moduleDirs(b *built) (list []string, err error) {
	for _, name := range programNames {
		dir := r.root
		if name != "swiftcni" {
			dir = r.in("cmd/" + name)
		}
		args := []string{"-C", dir, "list", "-m", "-f", "{{.Path}} {{.Version}}\t{{.Dir}}"}
		for _, dep := range foreign(b.info[name].Deps) {
			args = append(args, dep.Path)
		}
		out, err := output("go", args...)
		if err != nil {
			return nil, err
		}
		list = append(list, strings.Split(strings.TrimSpace(out), "\n")...)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// foreign are the modules that aren't in this repository.
func foreign(deps []*debug.Module) []*debug.Module {
	return slices.DeleteFunc(slices.Clone(deps), func(m *debug.Module) bool { return m.Replace != nil })
}

// legal is the name of a file with a licence, or with what goes with one.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

func appendLicenses(text *bytes.Buffer, module, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var paths []string
	for _, e := range entries {
		if legal.MatchString(e.Name()) && e.Type().IsRegular() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	if paths == nil {
		return fmt.Errorf("%s has no licence in %s", module, dir)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fmt.Fprintf(text, "==== %s: %s ====\n\n%s\n\n", module, filepath.Base(p), bytes.TrimSpace(data))
	}
	return nil
}
