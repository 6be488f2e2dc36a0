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

// debianTools are the machine's programs that the emulated guest gets, with their libraries, in
// /usr/sbin.
var debianTools = []string{"ip", "bridge", "tc", "nft", "nsenter", "dash", "ping", "iptables", "ip6tables", "iptables-nft", "ip6tables-nft",
	"iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore", "iptables-legacy", "ip6tables-legacy"}

// debianFiles are files that these programs need at run time.
var debianFiles = []string{"/etc/protocols", "/etc/services", "/usr/lib/x86_64-linux-gnu/xtables"}

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
func (r Release) Kernel(cache string) (*Kernel, error) {
	err := need(map[string]string{"qemu-system-x86_64": "qemu-system-x86", "modprobe": "kmod",
		"busybox": "busybox-static", "bridge": "iproute2", "nft": "nftables", "xz": "xz-utils"})
	if err != nil {
		return nil, err
	}
	packages, err := packagesOf(r, cache)
	if err != nil {
		return nil, err
	}
	pkg, err := packages.dependsOn("linux-image-cloud-amd64", "linux-image-")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	recipe := slices.Concat([]string{debianInit}, debianModules, debianTools, debianFiles)
	dir, err := cached(cache, pkg, recipe, func(dir string) error {
		if err := packages.download(dir, pkg); err != nil {
			return err
		}
		return unpackDebian(dir)
	})
	if err != nil {
		return nil, fmt.Errorf("kernel of %s: %w", pkg, err)
	}
	return &Kernel{
		Version: strings.TrimPrefix(pkg, "linux-image-"),
		command: func(stage, work string) (*exec.Cmd, error) { return qemu(dir, stage, work) },
	}, nil
}

// unpackDebian makes the kernel, as vmlinuz, and the guest's root file system, as root.cpio, from
// the package in dir.
func unpackDebian(dir string) error {
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
	if err := layOutRoot(root); err != nil {
		return err
	}
	if err := packFile(filepath.Join(dir, "root.cpio"), root, "."); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(tree, "boot/vmlinuz-"+version), filepath.Join(dir, "vmlinuz")); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(tree), os.RemoveAll(root), os.Remove(files[0]))
}

// layOutRoot puts the guest's whole file system except the modules into root.
func layOutRoot(root string) error {
	for _, dir := range []string{"bin", "dev", "etc", "mnt", "proc", "run", "sys", "tmp", "usr/sbin", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	if err := copyTree(busybox, filepath.Join(root, "bin/busybox")); err != nil {
		return err
	}
	for _, tool := range debianTools {
		if err := copyProgram(tool, root); err != nil {
			return fmt.Errorf("%s for the guest: %w", tool, err)
		}
	}
	for _, file := range debianFiles {
		if err := copyTree(file, filepath.Join(root, file)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(root, "init"), []byte(debianInit), 0o755)
}

// copyProgram puts a program of the machine into root/usr/sbin, and its libraries where it looks
// for them.
func copyProgram(name, root string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return err
	}
	libraries, err := exec.Command("ldd", path).Output()
	if err != nil {
		return fmt.Errorf("ldd: %w", err)
	}
	for _, word := range strings.Fields(string(libraries)) {
		if !strings.HasPrefix(word, "/") {
			continue
		}
		if err := copyTree(word, filepath.Join(root, word)); err != nil {
			return err
		}
	}
	return copyTree(path, filepath.Join(root, "usr/sbin", name))
}

// card is the guest's network card, on no network. It has a link once the guest has loaded its
// driver, virtio_net.
const card = "virtio-net-pci,addr=5,mac=52:54:00:00:00:05"

// qemu packs the stage and returns the command that boots the kernel. Debian's emulator gets
// CMPXCHG16B (cx16) wrong at times. Without it newer kernels don't fault at random.
func qemu(dir, stage, work string) (*exec.Cmd, error) {
	initrd := filepath.Join(work, "initrd")
	if err := copyTree(filepath.Join(dir, "root.cpio"), initrd); err != nil {
		return nil, err
	}
	if err := packFile(initrd, stage, "mnt"); err != nil {
		return nil, err
	}
	return exec.Command("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,-cx16", "-m", "512", "-net", "none", "-device", card,
		"-nographic", "-no-reboot", "-monitor", "none", "-serial", "stdio",
		"-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", initrd,
		"-append", "console=ttyS0 panic=-1 quiet"), nil
}
