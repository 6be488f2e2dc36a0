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

// debianInit is the emulated guest's first process, until it starts the commands. Scripts get dash
// as their shell, since busybox's prefers its own programs, such as ip, to those in PATH. Modules
// are loaded when the kernel asks for them.
const debianInit = `#!/bin/busybox sh
/bin/busybox --install -s /bin
ln -sf /usr/sbin/dash /bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
echo nameserver 192.0.2.53 > /etc/resolv.conf
echo /bin/modprobe > /proc/sys/kernel/modprobe
exec dash /mnt/run
`

// debianTools are the programs that the emulated guest gets, with their libraries, in
// /usr/sbin.
var debianTools = []string{"ip", "bridge", "tc", "nft", "nsenter", "dash", "ping", "iptables", "ip6tables", "iptables-nft", "ip6tables-nft",
	"iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore", "iptables-legacy", "ip6tables-legacy"}

// debianFiles are files that these programs need at run time.
var debianFiles = []string{"etc/protocols", "etc/services"}

// debianPackages hold all of these, for a guest of another architecture than the machine's.
var debianPackages = []string{"busybox-static", "iproute2", "nftables", "dash", "util-linux", "iputils-ping", "iptables", "netbase"}

// A Release is a release of Debian, by its code name.
type Release string

// The releases whose kernels are run.
const (
	Bullseye Release = "bullseye" // Debian 11: Linux 5.10
	Bookworm Release = "bookworm" // Debian 12: Linux 6.1
	Trixie   Release = "trixie"   // Debian 13: Linux 6.12
)

// Kernel prepares the kernel of a release's cloud images. It's emulated in software, so it needs no
// /dev/kvm. It takes three seconds from boot to power off on a quiet machine. The packages of
// another release than the machine's come from the same mirror. Downloaded and unpacked files are
// kept below cache.
func (r Release) Kernel(cache string) (*Kernel, error) { return r.KernelFor(AMD64, cache) }

// KernelFor prepares a kernel of another architecture than the machine's, too. The guest's programs
// then come from packages of that architecture.
func (r Release) KernelFor(arch Arch, cache string) (*Kernel, error) {
	err := need(map[string]string{arch.emulator: arch.pkg, "modprobe": "kmod",
		"busybox": "busybox-static", "bridge": "iproute2", "nft": "nftables", "xz": "xz-utils"})
	if err != nil {
		return nil, err
	}
	packages, err := packagesOf(r, arch, cache)
	if err != nil {
		return nil, err
	}
	pkg, err := packages.dependsOn(arch.kernel, "linux-image-")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	recipe := slices.Concat([]string{debianInit}, debianModules, debianTools, debianFiles)
	if arch.suffix() != "" {
		recipe = append(recipe, debianPackages...)
	}
	dir, err := cached(cache, pkg, recipe, func(dir string) error {
		if err := packages.download(dir, pkg); err != nil {
			return err
		}
		tools := system{root: "/", triplet: arch.triplet}
		if arch.suffix() != "" {
			tools.root = filepath.Join(dir, "packages")
			if err := packages.downloadAll(tools.root, debianPackages...); err != nil {
				return err
			}
			if err := unpackAll(tools.root); err != nil {
				return err
			}
		}
		return errors.Join(unpackDebian(dir, tools), os.RemoveAll(filepath.Join(dir, "packages")))
	})
	if err != nil {
		return nil, fmt.Errorf("kernel of %s: %w", pkg, err)
	}
	return &Kernel{
		Version: strings.TrimPrefix(pkg, "linux-image-"),
		command: func(stage, work, parameters string, machine []string) (*exec.Cmd, error) {
			initrd := filepath.Join(work, "initrd")
			if err := copyTree(filepath.Join(dir, "root.cpio"), initrd); err != nil {
				return nil, err
			}
			return arch.boot(filepath.Join(dir, "vmlinuz"), initrd, parameters, machine), packFile(initrd, stage, "mnt")
		},
	}, nil
}

// unpackDebian makes the kernel, as vmlinuz, and the guest's root file system, as root.cpio, from
// the package in dir, and from programs of a system.
func unpackDebian(dir string, tools system) error {
	tree, root := filepath.Join(dir, "tree"), filepath.Join(dir, "root")
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("%d files downloaded, not one", len(files))
	}
	if out, err := exec.Command("dpkg-deb", "-x", files[0], tree).CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, out)
	}
	version, err := unpackModules(tree)
	if err != nil {
		return err
	}
	if err := copyParts(tree, root, version, debianModules); err != nil {
		return err
	}
	if err := layOutRoot(root, tools); err != nil {
		return err
	}
	if err := packFile(filepath.Join(dir, "root.cpio"), root, "."); err != nil {
		return err
	}
	// Some architectures' kernels aren't compressed, and are called vmlinux.
	kernel, err := filepath.Glob(filepath.Join(tree, "boot/vmlinu[xz]-"+version))
	if err != nil {
		return err
	}
	if len(kernel) != 1 {
		return fmt.Errorf("%d kernels, not one: %v", len(kernel), kernel)
	}
	if err := os.Rename(kernel[0], filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(tree), os.RemoveAll(root), os.Remove(files[0]))
}

// layOutRoot puts the guest's whole file system except the modules into root.
func layOutRoot(root string, tools system) error {
	for _, dir := range []string{"bin", "dev", "etc", "mnt", "proc", "run", "sys", "tmp", "usr/sbin", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	busybox, err := tools.find("busybox", "bin", "usr/bin")
	if err != nil {
		return err
	}
	if err := copyTree(filepath.Join(tools.root, busybox), filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	for _, tool := range debianTools {
		if err := tools.copyProgram(tool, root); err != nil {
			return fmt.Errorf("%s for the guest: %w", tool, err)
		}
	}
	for _, file := range append([]string{filepath.Join("usr/lib", tools.triplet, "xtables")}, debianFiles...) {
		if err := copyTree(filepath.Join(tools.root, file), filepath.Join(root, file)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, "init"), []byte(debianInit), 0o755)
}
