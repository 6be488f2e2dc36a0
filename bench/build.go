// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// builder builds contestants into the cache directory.
type builder struct {
	root, cache string
	swiftcni    string // binary to be used as it is, or empty
	progress    io.Writer
}

// repository returns the directory of the module that the caller stands in.
func repository() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("not in swiftcni's repository")
	}
	return filepath.Dir(mod), nil
}

// commit names the tree that swiftcni and the floor are built from.
func (b builder) commit() string {
	out, err := exec.Command("git", "-C", b.root, "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// goFlags are the release's: a static binary without symbols.
var goFlags = []string{"-trimpath", "-ldflags", "-s -w"}

func (b builder) goBuild(output, pkg string) error {
	args := append([]string{"build"}, goFlags...)
	return b.run(b.root, []string{"CGO_ENABLED=0"}, "go", append(args, "-o", output, pkg)...)
}

func (b builder) emptyGo() error {
	return b.goBuild(filepath.Join(b.cache, "empty-go"), "./bench/empty")
}

// ours puts swiftcni into a directory under the names of the plugins that it answers to.
func (b builder) ours() error {
	dir := filepath.Join(b.cache, "swiftcni")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	binary := filepath.Join(dir, "swiftcni")
	if b.swiftcni != "" {
		var err error
		if binary, err = filepath.Abs(b.swiftcni); err != nil {
			return err
		}
		if _, err := os.Stat(binary); err != nil {
			return err
		}
	} else if err := b.goBuild(binary, "./cmd/swiftcni"); err != nil {
		return err
	}
	for _, name := range []string{"bridge", "host-local"} {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.Symlink(binary, link); err != nil {
			return err
		}
	}
	return nil
}

// reference installs the reference plugins with the flags that swiftcni is built with, once: a release
// doesn't change.
func (b builder) reference() error {
	dir := filepath.Join(b.cache, "reference-"+referenceVersion)
	module := "github.com/containernetworking/plugins/plugins/"
	var packages []string
	for _, plugin := range []string{"main/bridge", "ipam/host-local"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(plugin))); err != nil {
			packages = append(packages, module+plugin+"@"+referenceVersion)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	args := append(append([]string{"install"}, goFlags...), packages...)
	// With a version, go install heeds no go.mod around it, but it does heed GOFLAGS.
	return b.run(b.cache, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN=" + dir}, "go", args...)
}

// compile builds a C program of the floor's directory.
func (b builder) compile(name string) error {
	source := filepath.Join(b.root, "bench", "floor", name+".c")
	return b.run(b.root, nil, "gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-s",
		"-o", filepath.Join(b.cache, name), source)
}

func (b builder) run(dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	fmt.Fprintf(b.progress, "%s %s\n", name, strings.Join(args, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
