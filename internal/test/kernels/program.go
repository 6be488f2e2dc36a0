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

// nftPackages are the packages of Debian's nft and its libraries.
var nftPackages = []string{"nftables", "libnftables1", "libnftnl11", "libjansson4", "libmnl0", "libxtables12", "libc6", "libedit2", "libtinfo6",
	"libbsd0", "libmd0", "libgmp10"}

// Nft returns the command that runs a release's nft program by its own loader and libraries.
// Nothing is installed. Downloaded and unpacked files are kept below cache.
func (r Release) Nft(cache string) (command []string, err error) {
	packages, err := packagesOf(r, AMD64, cache)
	if err != nil {
		return nil, err
	}
	// Otherwise apt would look for the installed versions.
	packages.options = append(packages.options, "-o", "Dir::State::status=/dev/null")
	dir, err := cached(cache, "nft-"+string(r), nftPackages, func(dir string) error {
		download := append([]string{"download"}, nftPackages...)
		if packages.get(dir, download...) != nil {
			if err := packages.update(); err != nil {
				return err
			}
			if err := packages.get(dir, download...); err != nil {
				return err
			}
		}
		return unpackAll(dir)
	})
	if err != nil {
		return nil, fmt.Errorf("nft of %s: %w", r, err)
	}
	libraries := []string{filepath.Join(dir, "lib/x86_64-linux-gnu"), filepath.Join(dir, "usr/lib/x86_64-linux-gnu")}
	for _, l := range libraries {
		if loader := filepath.Join(l, "ld-linux-x86-64.so.2"); exists(loader) {
			return []string{loader, "--library-path", strings.Join(libraries, ":"), filepath.Join(dir, "usr/sbin/nft")}, nil
		}
	}
	return nil, fmt.Errorf("nft of %s: no loader in %v", r, libraries)
}

// unpackAll unpacks the packages that are in dir there.
func unpackAll(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	for _, f := range slices.Sorted(slices.Values(files)) {
		if out, unpackErr := exec.Command("dpkg-deb", "-x", f, dir).CombinedOutput(); unpackErr != nil {
			err = errors.Join(err, fmt.Errorf("dpkg-deb -x %s: %w: %s", f, unpackErr, out))
		}
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
