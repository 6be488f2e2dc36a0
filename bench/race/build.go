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

// referenceVersion is the release of github.com/containernetworking/plugins whose host-local shares the leases.
const referenceVersion = "v1.9.1"

// build fills in the plan's programs: swiftcni from source unless it names other plugins, and the reference's host-local.
func build(p *Plan, progress io.Writer) error {
	root, err := repository()
	if err != nil {
		return err
	}
	if p.Plugins == "" {
		if p.Plugins, err = buildOurs(root, progress); err != nil {
			return err
		}
	}
	p.HostLocal, err = buildReference(root, progress)
	return err
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

// buildOurs puts swiftcni, under the name bridge, into a directory of the cache.
func buildOurs(root string, progress io.Writer) (dir string, err error) {
	dir = filepath.Join(root, ".cache", "race")
	bridge := filepath.Join(dir, "bridge")
	return dir, command(progress, root, []string{"CGO_ENABLED=0"},
		"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bridge, "./cmd/swiftcni")
}

// buildReference installs the reference's host-local once: a release doesn't change.
func buildReference(root string, progress io.Writer) (path string, err error) {
	dir := filepath.Join(root, ".cache", "bench", "reference-"+referenceVersion)
	path = filepath.Join(dir, "host-local")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// With a version, go install heeds no go.mod around it, but it does heed GOFLAGS.
	return path, command(progress, dir, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN=" + dir},
		"go", "install", "-trimpath", "-ldflags", "-s -w",
		"github.com/containernetworking/plugins/plugins/ipam/host-local@"+referenceVersion)
}

func command(progress io.Writer, dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	fmt.Fprintf(progress, "%s %s\n", name, strings.Join(args, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
