// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// umlModules are the modules that user-mode-linux loads at its start, without those that they need.
var umlModules = strings.Fields("bridge veth nf_tables nft_masq nft_ct nft_redir nft_limit nft_meta_bridge")

// debianModules are the parts of kernel/ that the emulated guest gets. Its kernel loads modules
// from them when they are needed, as on any machine.
var debianModules = []string{
	"net/bridge", "net/netfilter", "net/ipv4", "net/ipv6", "net/8021q", "net/802", "net/llc", "net/sched",
	"drivers/net/veth.ko", "drivers/net/dummy.ko", "drivers/net/ifb.ko", "drivers/net/vxlan",
	"drivers/net/macvlan.ko", "drivers/net/ipvlan", "drivers/net/vrf.ko", "drivers/net/tun.ko", "drivers/net/tap.ko",
	"drivers/virtio", "drivers/net/virtio_net.ko", "drivers/net/net_failover.ko", "net/core/failover.ko", "drivers/uio/uio.ko", "drivers/uio/uio_pci_generic.ko",
	"lib", "crypto", "arch/x86/crypto/crc32c-intel.ko",
}

// unpackModules makes the modules of a package's tree ready for [copyParts], and returns their
// version. From Debian 13 on they lie below usr and are compressed, which the guest's busybox can't
// undo.
func unpackModules(tree string) (version string, err error) {
	if _, err := os.Stat(filepath.Join(tree, "lib/modules")); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Join(tree, "lib"), 0o755); err != nil {
			return "", err
		}
		if err := os.Rename(filepath.Join(tree, "usr/lib/modules"), filepath.Join(tree, "lib/modules")); err != nil {
			return "", err
		}
	}
	modules := filepath.Join(tree, "lib/modules")
	if out, err := exec.Command("find", modules, "-name", "*.ko.xz", "-exec", "xz", "-d", "{}", "+").CombinedOutput(); err != nil {
		return "", fmt.Errorf("xz: %w: %s", err, out)
	}
	return onlyVersion(modules)
}

// copyParts copies parts of the modules of version from the tree below from to that below to, with
// an index.
func copyParts(from, to, version string, parts []string) error {
	from, dir := filepath.Join(from, "lib/modules", version), filepath.Join(to, "lib/modules", version)
	for _, part := range []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"} {
		if err := copyTree(filepath.Join(from, part), filepath.Join(dir, part)); err != nil {
			return err
		}
	}
	for _, part := range parts {
		err := copyTree(filepath.Join(from, "kernel", part), filepath.Join(dir, "kernel", part))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not every kernel has every part
			return err
		}
	}
	return index(to, version)
}

func index(root, version string) error {
	if out, err := exec.Command("depmod", "-b", root, version).CombinedOutput(); err != nil {
		return fmt.Errorf("depmod: %w: %s", err, out)
	}
	return nil
}

// copyInOrder puts modules, and the modules that they need, into dir. They are numbered, in an
// order in which a kernel without any of them can load them. Modules that this kernel lacks or has
// built in are left out.
func copyInOrder(root, version, dir string, modules []string) error {
	if err := index(root, version); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, name := range modules {
		// The exit status tells only that there is no such module.
		out, _ := exec.Command("modprobe", "-d", root, "-S", version, "--show-depends", name).Output()
		for line := range strings.Lines(string(out)) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "insmod" || seen[words[1]] {
				continue
			}
			to := fmt.Sprintf("%02d-%s", len(seen), filepath.Base(words[1]))
			seen[words[1]] = true
			if err := copyTree(words[1], filepath.Join(dir, to)); err != nil {
				return err
			}
		}
	}
	if len(seen) == 0 {
		return fmt.Errorf("no modules for %s below %s", version, root)
	}
	return nil
}

// onlyVersion is the name of the single directory of dir.
func onlyVersion(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(entries) != 1 {
		return "", fmt.Errorf("%s has %d kernel versions, not one", dir, len(entries))
	}
	return entries[0].Name(), nil
}
