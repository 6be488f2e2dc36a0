// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modules are what the guests load, with all that these need. user-mode-linux has only some of them.
var modules = strings.Fields(`bridge veth 8021q br_netfilter
	nf_tables nft_masq nft_nat nft_chain_nat nft_ct nft_fib_inet nft_redir nft_reject_inet nft_limit nft_counter`)

// moduleFiles returns the files of the modules below root/lib/modules/version, in the order in which a kernel
// that has none of them can load them. Modules that this kernel lacks or has built in are left out.
func moduleFiles(root, version string) ([]string, error) {
	if out, err := exec.Command("depmod", "-b", root, version).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("depmod: %w: %s", err, out)
	}
	var files []string
	seen := map[string]bool{}
	for _, name := range modules {
		// The exit status tells only that there is no such module.
		out, _ := exec.Command("modprobe", "-d", root, "-S", version, "--show-depends", name).Output()
		for line := range strings.Lines(string(out)) {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "insmod" || seen[words[1]] {
				continue
			}
			seen[words[1]] = true
			files = append(files, words[1])
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no modules for %s below %s", version, root)
	}
	return files, nil
}

// copyModules puts the modules into dir, numbered in their order.
func copyModules(root, version, dir string) error {
	files, err := moduleFiles(root, version)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, file := range files {
		if err := copyTree(file, filepath.Join(dir, fmt.Sprintf("%02d-%s", i, filepath.Base(file)))); err != nil {
			return err
		}
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
