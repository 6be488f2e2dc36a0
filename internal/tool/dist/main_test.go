// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// version is that of the releases that the tests make, one that CHANGELOG.md knows.
const version = "v0.9.0"

func TestMain(m *testing.M) {
	box.Main()
	if os.Getenv(bareVar) != "" {
		runtime.LockOSThread() // whose capabilities are dropped
		fmt.Println(bareMain(os.Args[1:]))
		os.Exit(1)
	}
	status := m.Run()
	if made != "" {
		if err := os.RemoveAll(made); err != nil {
			panic(err)
		}
	}
	os.Exit(status)
}

var made string

// once makes a release for this machine's architecture.
var once = sync.OnceValue(func() error {
	var err error
	if made, err = os.MkdirTemp("", "swiftcni-dist-test-"); err != nil {
		return err
	}
	return makeRelease("../../..", made, version)
})

func makeRelease(root, out, version string) error {
	return run([]string{"-root", root, "-out", out, "-version", version, "-arches", runtime.GOARCH}, io.Discard)
}

// released returns the directory of a release, which isn't to be changed.
func released(t *testing.T) string {
	t.Helper()
	if err := once(); err != nil {
		t.Fatal(err)
	}
	return made
}

// one is the path of the release's only file whose name matches a pattern.
func one(t *testing.T, pattern string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(released(t), pattern))
	if err != nil || len(paths) != 1 {
		t.Fatalf("%s: %v, %v", pattern, paths, err)
	}
	return paths[0]
}

// do runs a program, which must succeed, in a directory.
func do(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
