// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// vendored are the modules of programs. Those of benchmarks, and of this one, aren't for distributions to build.
var vendored = []string{".", "cmd/swiftctl", "cmd/swiftcni-exporter"}

// source writes the archive of the source with all modules that the programs need, which builds without a network, and with
// any flags: it knows its version.
func (r *release) source() error {
	name := "swiftcni-" + r.version[1:]
	dir := filepath.Join(r.work, "source", name)
	if err := r.copySource(dir); err != nil {
		return err
	}
	if err := r.prepareSource(dir); err != nil {
		return err
	}
	for _, module := range vendored {
		if err := r.tool(filepath.Join(dir, module), []string{"GOFLAGS=-mod=mod", "GOWORK=off", "GOTOOLCHAIN=local"}, "go", "mod", "vendor"); err != nil {
			return err
		}
	}
	t, err := walk(dir)
	if err != nil {
		return err
	}
	return r.archive(name+"-source.tar.gz", t.under(name+"/"))
}

// copySource copies what git has, or would have, of the repository.
func (r *release) copySource(to string) error {
	names, err := r.git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(names, "\x00"), "\x00") {
		from, to := filepath.Join(r.root, name), filepath.Join(to, name)
		info, err := os.Lstat(from)
		if errors.Is(err, fs.ErrNotExist) { // removed, and not committed yet
			continue
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", name)
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, info.Mode().Perm()|0o600); err != nil {
			return err
		}
	}
	return nil
}

// prepareSource writes the version into the source, and frees the exporter of the toolchain that its go.mod asks for: a
// distribution builds with its own, and keeps that up to date.
func (r *release) prepareSource(dir string) error {
	path := filepath.Join(dir, "cni", "about.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	const unset = `const sourceVersion = ""`
	if !bytes.Contains(text, []byte(unset)) {
		return fmt.Errorf("%s has no %s", path, unset)
	}
	text = bytes.Replace(text, []byte(unset), []byte(`const sourceVersion = "`+r.version+`"`), 1)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	return r.tool(filepath.Join(dir, "cmd/swiftcni-exporter"), []string{"GOTOOLCHAIN=local"}, "go", "mod", "edit", "-toolchain=none")
}

// walk reads the regular files below a directory.
func walk(dir string) (t tree, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		t = append(t, file{name: filepath.ToSlash(name), data: data, exec: info.Mode()&0o100 != 0})
		return err
	})
	return t, err
}
