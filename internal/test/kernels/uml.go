// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// umlInit is the guest's first process, until it starts the commands. Its root file system is the
// machine's own, read-only, so it finds the modules and the stage by their names there. Its shell
// isn't busybox's. That one runs its programs by /proc/self/exe. Until the guest has a /proc of its
// own, that is the machine's, and leads to user-mode-linux itself.
const umlInit = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t tmpfs run /run
busybox mount -t hostfs -o %s stage /mnt
for module in %s/*; do busybox insmod $module; done
exec dash /mnt/run
`

// UML prepares user-mode-linux: Linux as a program, with the machine's file system as its own,
// read-only. Its nf_tables knows only the bridge family; "ip", "ip6" and "inet" answer EOPNOTSUPP.
// Boot to power off takes three seconds. Its modules in loading order are kept below cache.
func UML(cache string) (*Kernel, error) {
	err := need(map[string]string{"linux.uml": "user-mode-linux", "modprobe": "kmod", "busybox": "busybox-static",
		"ip": "iproute2", "nft": "nftables"})
	if err != nil {
		return nil, err
	}
	const system = "/usr/lib/uml/modules"
	version, err := onlyVersion(system)
	if err != nil {
		return nil, err
	}
	dir, err := cached(cache, "uml-"+version, umlModules, func(dir string) error {
		tree := filepath.Join(dir, "tree")
		if err := copyTree(system, filepath.Join(tree, "lib/modules")); err != nil {
			return err
		}
		if err := copyInOrder(tree, version, filepath.Join(dir, "modules"), umlModules); err != nil {
			return err
		}
		return os.RemoveAll(tree)
	})
	if err != nil {
		return nil, fmt.Errorf("modules of user-mode-linux: %w", err)
	}
	return &Kernel{
		Version: version,
		command: func(stage, work, parameters string, _ []string) (*exec.Cmd, error) {
			return uml(dir, stage, work, parameters)
		},
	}, nil
}

// uml writes the guest's init and returns the command that boots it.
func uml(dir, stage, work, parameters string) (*exec.Cmd, error) {
	init := filepath.Join(work, "init")
	text := fmt.Sprintf(umlInit, stage, filepath.Join(dir, "modules"))
	if err := os.WriteFile(init, []byte(text), 0o755); err != nil {
		return nil, err
	}
	// uml_dir is ~/.uml by itself, where a guest that is killed leaves a directory.
	args := []string{"uml_dir=" + work, "mem=512M", "rootfstype=hostfs", "rootflags=/", "ro", "con=null", "con0=null,fd:1", "quiet", "init=" + init}
	return exec.Command("linux.uml", append(args, strings.Fields(parameters)...)...), nil
}
