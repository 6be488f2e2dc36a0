// SPDX-License-Identifier: Apache-2.0

// Package build builds the programs that the benchmarks and harnesses run: swiftcni from source,
// and the reference plugins.
package build

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/swiftcni/swiftcni/internal/handover"
)

// ReferenceVersion is the release of github.com/containernetworking/plugins with which swiftcni is
// compared.
const ReferenceVersion = "v1.10.0"

// flags are the release's flags, for a static binary without symbols.
var flags = [...]string{"-trimpath", "-ldflags", "-s -w"}

// Root returns the directory of swiftcni's module, from anywhere in its repository. Some
// directories there are modules of their own.
func Root() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/swiftcni/swiftcni").Output()
	if err != nil {
		return "", fmt.Errorf("not in swiftcni's repository: go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Run runs a program in a directory, with additional environment, and reports that as progress. It
// reports the program's output if it fails.
func Run(progress io.Writer, dir string, env []string, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	fmt.Fprintf(progress, "%s %s\n", name, strings.Join(args, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Go builds a package of the module at root.
func Go(progress io.Writer, root, output, pkg string) error {
	args := append([]string{"build"}, flags[:]...)
	return Run(progress, root, []string{"CGO_ENABLED=0"}, "go", append(args, "-o", output, pkg)...)
}

// Swiftctl builds the tool, which is a module of its own in the repository at root. The output's
// path is absolute.
func Swiftctl(progress io.Writer, root, output string) error {
	return Go(progress, filepath.Join(root, "cmd", "swiftctl"), output, ".")
}

// Release builds the plugins' program, whose package is pkg, as a release is built: see GOBUILD in
// the Makefile.
func Release(progress io.Writer, root, output, pkg string) error {
	env := []string{"CGO_ENABLED=0"}
	if strings.HasPrefix(runtime.Version(), "go1.26") {
		env = append(env, "GOEXPERIMENT=nogreenteagc")
	}
	return Run(progress, root, env, "go", "build", flags[0], "-gcflags=github.com/swiftcni/...=-l", "-gcflags=github.com/google/nftables/...=-l", "-gcflags=golang.org/x/...=-l", flags[1], flags[2]+" "+handover.Flag, "-o", output, pkg)
}

// Swiftcni puts swiftcni into a directory under the names of its plugins. It builds it from the
// module at root, or uses an existing binary.
func Swiftcni(progress io.Writer, root, dir, binary string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if binary == "" {
		binary = filepath.Join(dir, "swiftcni")
		if err := Release(progress, root, binary, "./cmd/swiftcni"); err != nil {
			return err
		}
	}
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	if _, err := os.Stat(binary); err != nil {
		return err
	}
	for _, name := range []string{"bridge", "host-local", "ptp", "static", "dhcp", "loopback", "portmap", "firewall", "tuning", "bandwidth", "sbr",
		"host-device", "vrf", "macvlan", "ipvlan", "vlan", "dummy", "tap"} {
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

// Reference installs the reference's plugins with which swiftcni is compared, as [ReferencePlugins]
// does.
func Reference(progress io.Writer, root string) (dir string, err error) {
	return ReferencePlugins(progress, root, ReferenceVersion,
		"main/bridge", "main/loopback", "ipam/host-local", "meta/portmap", "meta/firewall", "meta/tuning", "meta/bandwidth")
}

// ReferencePlugins installs plugins of a release of the reference into a directory of the cache at
// root, and returns that directory. It does so once, since a release doesn't change. A plugin's
// name is that of its package, such as main/bridge.
func ReferencePlugins(progress io.Writer, root, version string, plugins ...string) (dir string, err error) {
	if dir, err = filepath.Abs(filepath.Join(root, ".cache", "bench", "reference-"+version)); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	args := append([]string{"install"}, flags[:]...)
	missing := false
	for _, plugin := range plugins {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(plugin))); err != nil {
			missing = true
			args = append(args, "github.com/containernetworking/plugins/plugins/"+plugin+"@"+version)
		}
	}
	if !missing {
		return dir, nil
	}
	// With a version, go install ignores the go.mod around it, but it uses GOFLAGS.
	return dir, Run(progress, dir, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN=" + dir}, "go", args...)
}

// CnitoolVersion is the release of libcni and its command-line client that tests use. It speaks CNI
// 1.1.0.
const CnitoolVersion = "v1.3.1"

// Cnitool builds libcni's command-line client, statically, into the cache at root, once, and
// returns its path.
func Cnitool(progress io.Writer, root string) (path string, err error) {
	return CnitoolFor(progress, root, runtime.GOARCH)
}

// CnitoolFor builds it for an architecture of Go's.
func CnitoolFor(progress io.Writer, root, arch string) (path string, err error) {
	dir, err := filepath.Abs(filepath.Join(root, ".cache", "cnitool-static-"+CnitoolVersion+"-"+arch))
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "cnitool")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		return "", err
	}
	// For another architecture go install knows no GOBIN, and makes a directory below that of GOPATH.
	env := []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOARCH=" + arch, "GOBIN=", "GOPATH=" + dir, "GOMODCACHE=" + strings.TrimSpace(string(modules))}
	args := append([]string{"install"}, flags[:]...)
	if err := Run(progress, "", env, "go", append(args, "github.com/containernetworking/cni/cnitool@"+CnitoolVersion)...); err != nil {
		return "", err
	}
	from := filepath.Join(dir, "bin", "cnitool")
	if arch != runtime.GOARCH {
		from = filepath.Join(dir, "bin", "linux_"+arch, "cnitool")
	}
	return path, os.Rename(from, path)
}

// redirectModule needs tc-redirect-tap, which has no releases. Its own module names versions of others
// that are older than those with which the reference is built.
const redirectModule = `module redirect

go 1.25

require (
	github.com/awslabs/tc-redirect-tap v0.0.0-20211025175357-e30dfca224c2
	github.com/containernetworking/cni v1.3.1
	github.com/containernetworking/plugins v1.10.0
	github.com/vishvananda/netlink v1.3.1
)
`

// TCRedirectTap builds Firecracker's plugin of that name, statically, into the cache at root, once, and
// returns its path.
func TCRedirectTap(progress io.Writer, root string) (path string, err error) {
	const pkg = "github.com/awslabs/tc-redirect-tap/cmd/tc-redirect-tap"
	dir, err := filepath.Abs(filepath.Join(root, ".cache", "tc-redirect-tap-e30dfca224c2"))
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "tc-redirect-tap")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, text := range map[string]string{"go.mod": redirectModule, "redirect.go": "package redirect\n\nimport _ \"" + pkg + "\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	args := append(append([]string{"build"}, flags[:]...), "-o", path, pkg)
	return path, Run(progress, dir, []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off"}, "go", args...)
}
