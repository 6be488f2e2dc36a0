// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// need installs the package of each missing program. Keys are programs, values packages.
func need(programs map[string]string) error {
	var missing []string
	for program, pkg := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	install := append([]string{"install", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"}, missing...)
	machine := source{}
	if machine.get("", install...) == nil {
		return nil
	}
	// The lists may be absent or too old.
	if err := machine.update(); err != nil {
		return err
	}
	return machine.get("", install...)
}

// A source is a source of packages. The zero value is the machine's apt with its own configuration.
type source struct {
	options []string // apt's options, which name other lists
}

// packagesOf returns the source of a release of Debian: the machine's own, or, for another release
// or architecture, the same mirror by lists that are kept below cache. The machine's own apt isn't
// changed.
func packagesOf(release Release, arch Arch, cache string) (source, error) {
	machine, err := machineRelease()
	if err != nil || machine == string(release) && arch.Debian == AMD64.Debian {
		return source{}, err
	}
	mirror, err := mirrorOf(machine)
	if err != nil {
		return source{}, err
	}
	dir, err := filepath.Abs(filepath.Join(cache, "apt-"+string(release)+arch.suffix()))
	if err != nil {
		return source{}, err
	}
	for _, d := range []string{"lists/partial", "archives/partial"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return source{}, err
		}
	}
	list := filepath.Join(dir, "sources.list")
	line := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", mirror, release)
	s := source{}
	for _, option := range []string{
		"Dir::Etc::sourcelist=" + list, "Dir::Etc::sourceparts=-", "Dir::State::lists=" + filepath.Join(dir, "lists"),
		"Dir::Cache=" + dir, "Dir::Cache::archives=" + filepath.Join(dir, "archives"),
		"Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=", // they would be larger than everything else
		"Acquire::Languages=none", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
		"APT::Sandbox::User=root", // its own user needn't see the cache
		"APT::Architecture=" + arch.Debian, "APT::Architectures::=" + arch.Debian,
	} {
		s.options = append(s.options, "-o", option)
	}
	return s, os.WriteFile(list, []byte(line), 0o644)
}

// machineRelease is the code name of the machine's own Debian.
func machineRelease() (string, error) {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(strings.TrimSpace(name), `"`), nil
		}
	}
	return "", errors.New("/etc/os-release has no VERSION_CODENAME")
}

// mirrorOf is the address at which the machine's apt finds the main packages of its release.
func mirrorOf(release string) (string, error) {
	for _, update := range []bool{false, true} {
		if update {
			if err := (source{}).update(); err != nil {
				return "", err
			}
		}
		out, _ := exec.Command("apt-get", "indextargets", "--format", "$(REPO_URI)",
			// No answer is no output.
			"Created-By: Packages", "Component: main", "Codename: "+release).Output()
		if fields := strings.Fields(string(out)); len(fields) > 0 {
			return fields[0], nil
		}
	}
	return "", fmt.Errorf("apt is configured for no mirror of %s", release)
}

// download puts a package's file into dir, without installing it.
func (s source) download(dir, pkg string) error {
	if s.get(dir, "download", pkg) == nil {
		return nil
	}
	if err := s.update(); err != nil {
		return err
	}
	return s.get(dir, "download", pkg)
}

// downloadAll puts the files of packages, and of all packages that they need, into dir, without
// installing them.
func (s source) downloadAll(dir string, packages ...string) error {
	all := source{append(slices.Clone(s.options), "-o", "Dir::State::status=/dev/null", "-o", "Dir::Cache::archives="+dir, "-o", "Debug::NoLocking=1")}
	if err := os.MkdirAll(filepath.Join(dir, "partial"), 0o755); err != nil {
		return err
	}
	install := append([]string{"install", "-qq", "--no-install-recommends", "--download-only"}, packages...)
	if all.get("", install...) == nil {
		return nil
	}
	if err := s.update(); err != nil {
		return err
	}
	return all.get("", install...)
}

// dependsOn returns the first package with the given prefix that pkg depends on.
func (s source) dependsOn(pkg, prefix string) (string, error) {
	for _, update := range []bool{false, true} {
		if update {
			if err := s.update(); err != nil {
				return "", err
			}
		}
		// No answer is no output.
		out, _ := exec.Command("apt-cache", append(s.options, "depends", pkg)...).Output()
		for line := range strings.Lines(string(out)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, prefix) {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("apt knows no %s package that %s depends on", prefix, pkg)
}

func (s source) update() error { return s.get("", "update", "-qq") }

// get runs apt-get in a directory.
func (s source) get(dir string, args ...string) error {
	cmd := exec.Command("apt-get", append(s.options, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
