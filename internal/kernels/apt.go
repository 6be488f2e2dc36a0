// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// need installs the package of each program that isn't there. Keys are programs, values packages.
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
	if apt("", install...) == nil {
		return nil
	}
	// The lists may be absent or too old.
	if err := apt("", "update", "-qq"); err != nil {
		return err
	}
	return apt("", install...)
}

// download puts a package's file into dir, without installing it.
func download(dir, pkg string) error {
	if apt(dir, "download", pkg) == nil {
		return nil
	}
	if err := apt("", "update", "-qq"); err != nil {
		return err
	}
	return apt(dir, "download", pkg)
}

// dependsOn returns the first package with the given prefix that pkg depends on.
func dependsOn(pkg, prefix string) (string, error) {
	for _, update := range []bool{false, true} {
		if update {
			if err := apt("", "update", "-qq"); err != nil {
				return "", err
			}
		}
		out, _ := exec.Command("apt-cache", "depends", pkg).Output() // no answer is no output
		for line := range strings.Lines(string(out)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok && strings.HasPrefix(name, prefix) {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("apt knows no %s package that %s depends on", prefix, pkg)
}

func apt(dir string, args ...string) error {
	cmd := exec.Command("apt-get", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
