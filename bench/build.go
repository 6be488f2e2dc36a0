// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/swiftcni/swiftcni/internal/build"
)

// builder builds contestants into the cache directory.
type builder struct {
	root, cache string
	swiftcni    string // binary to be used as it is, or empty
	progress    io.Writer
}

// commit names the tree that swiftcni and the floor are built from.
func (b builder) commit() string {
	out, err := exec.Command("git", "-C", b.root, "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func (b builder) emptyGo() error {
	return build.Go(b.progress, b.root, filepath.Join(b.cache, "empty-go"), "./bench/empty")
}

// ours puts swiftcni into a directory under the names of the plugins that it answers to.
func (b builder) ours() error {
	return build.Swiftcni(b.progress, b.root, filepath.Join(b.cache, "swiftcni"), b.swiftcni)
}

func (b builder) reference() error {
	_, err := build.Reference(b.progress, b.root)
	return err
}

// compile builds a C program of the floor's directory.
func (b builder) compile(name string) error {
	source := filepath.Join(b.root, "bench", "floor", name+".c")
	return build.Run(b.progress, b.root, nil, "gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-s",
		"-o", filepath.Join(b.cache, name), source)
}
