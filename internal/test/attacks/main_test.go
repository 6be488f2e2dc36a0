// SPDX-License-Identifier: Apache-2.0

// Package attacks tries what a hostile container, a hostile user of the host, or hostile input
// could do, on real programs, namespaces and files. docs/security.md is the table of what it tries
// and what holds.
package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
)

// binariesVar names the directory of the programs under test to the re-executed test binary.
const binariesVar = "SWIFTCNI_TEST_ATTACKED"

// TestMain builds the programs outside, and runs the tests in namespaces of their own.
func TestMain(m *testing.M) {
	if os.Getenv(binariesVar) == "" {
		os.Exit(withBinaries())
	}
	nstest.Main(m)
}

func withBinaries() (status int) {
	dir, err := os.MkdirTemp("", "swiftcni-attacks-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "attacks:", err)
		return 2
	}
	// Attacks wait more for the kernel's clean-up than they compute, so twice the usual two at once
	// are no load.
	cmd := exec.Command(os.Args[0], append([]string{"-test.parallel=4"}, os.Args[1:]...)...)
	cmd.Env = append(os.Environ(), binariesVar+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "attacks:", err)
	}
	return cmd.ProcessState.ExitCode()
}

func build(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // an unprivileged caller runs them, too
		return err
	}
	for _, name := range []string{"swiftcni", "swiftctl"} {
		cmd := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, name), ".")
		cmd.Dir = "../../../cmd/" + name // swiftctl is a module of its own
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return os.Symlink("swiftcni", filepath.Join(dir, "bridge"))
}

// program is the path of a program under test.
func program(name string) string { return filepath.Join(os.Getenv(binariesVar), name) }
