// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	release "github.com/swiftcni/swiftcni/internal/tool/build"
)

var update = flag.Bool("update", false, "rewrite the scripts' golden files")

// binariesVar names the directory of the programs under test to the re-executed test binary.
const binariesVar = "SWIFTCNI_TEST_BINARIES"

// TestMain builds the programs, since inside the tests' namespaces there's no network to fetch a
// module from, and runs the tests there. By the name of an IPAM plugin of the tests the binary is
// that plugin.
func TestMain(m *testing.M) {
	box.Main()
	if box.Role() == unmountRole {
		unmountMain()
	}
	if os.Args[0] == residentName {
		os.Exit(residentMain())
	}
	if name := filepath.Base(os.Args[0]); strings.HasPrefix(name, "fake-") {
		os.Exit(fakeIPAM(os.Getenv("CNI_COMMAND"), os.Stdin, os.Stdout, os.Stderr))
	}
	if os.Getenv(binariesVar) != "" {
		nstest.Main(m)
	}
	status, err := runWithBinaries()
	if err != nil {
		fmt.Fprintln(os.Stderr, "swiftcni tests:", err)
		os.Exit(2)
	}
	os.Exit(status)
}

// runWithBinaries builds into a directory of its own, runs the tests in a child, and removes the
// directory.
func runWithBinaries() (status int, err error) {
	dir, err := os.MkdirTemp("", "swiftcni-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		return 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), binariesVar+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// build makes dir/ours, swiftcni with a link for each plugin, dir/swiftctl, and dir/reference, with
// others' plugins.
func build(dir string) error {
	ours := filepath.Join(dir, "ours")
	if err := buildOurs(filepath.Join(ours, "swiftcni")); err != nil {
		return err
	}
	for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap", "firewall", "tuning", "ptp", "static", "dhcp", "bandwidth", "sbr", "host-device", "vrf", "macvlan", "ipvlan", "vlan", "dummy", "tap"} {
		if err := os.Symlink("swiftcni", filepath.Join(ours, plugin)); err != nil {
			return err
		}
	}
	if err := release.Swiftctl(io.Discard, "../..", filepath.Join(dir, "swiftctl")); err != nil {
		return err
	}
	args := []string{"install", "-trimpath", "-ldflags", "-s -w"}
	for _, plugin := range []string{"main/bridge", "ipam/host-local", "main/loopback", "meta/portmap", "meta/firewall", "meta/tuning", "main/ptp", "ipam/static", "meta/bandwidth", "meta/sbr", "meta/vrf",
		"ipam/dhcp", "main/macvlan", "main/ipvlan", "main/vlan", "main/dummy", "main/host-device", "main/tap"} {
		args = append(args, "github.com/containernetworking/plugins/plugins/"+plugin+"@"+release.ReferenceVersion)
	}
	// With a version, go install heeds no go.mod around it, but it does heed GOFLAGS.
	env := []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN=" + filepath.Join(dir, "reference")}
	if err := goCommand(dir, env, args); err != nil {
		return err
	}
	path, err := release.TCRedirectTap(io.Discard, "../..")
	if err != nil {
		return err
	}
	return os.Symlink(path, filepath.Join(dir, "reference", "tc-redirect-tap"))
}

// otherVar names a binary to test in place of the release: one that's built in another way.
const otherVar = "SWIFTCNI_TEST_BINARY"

func buildOurs(path string) error {
	other := os.Getenv(otherVar)
	if other == "" {
		return release.Release(io.Discard, ".", path, ".")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	program, err := os.ReadFile(other)
	if err != nil {
		return err
	}
	return os.WriteFile(path, program, 0o755)
}

func goCommand(dir string, env, args []string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// oursDir holds swiftcni and its links, referenceDir the reference plugins.
func oursDir() string      { return filepath.Join(os.Getenv(binariesVar), "ours") }
func referenceDir() string { return filepath.Join(os.Getenv(binariesVar), "reference") }

// swiftctl is the tool, which is dhcp's daemon.
func swiftctl() string { return filepath.Join(os.Getenv(binariesVar), "swiftctl") }
