// SPDX-License-Identifier: Apache-2.0

// Package roster knows the names that the program answers to.
package roster

import (
	"os"
	"path/filepath"
)

// Program is the binary's own name.
const Program = "swiftcni"

var names = [...]string{"bridge", "host-local", "static", "dhcp", "loopback", "ptp", "portmap", "firewall", "bandwidth", "sbr", "tuning",
	"host-device", "vrf", "macvlan", "ipvlan", "vlan", "dummy", "tap"}

// Names returns the plugins' names: the links to make in a plugin directory.
func Names() []string { return append([]string(nil), names[:]...) }

// Has reports whether a name is a plugin's.
func Has(name string) bool {
	for i := range names {
		if names[i] == name {
			return true
		}
	}
	return false
}

// Name returns the name of the plugin that a program is to be, by the path that it was called by:
// its last element, or where that's no plugin's the one that its symbolic links lead to.
func Name(path string) string {
	name := filepath.Base(path)
	for base, links := name, 0; base != Program && links <= maxLinks; links++ {
		if Has(base) {
			return base
		}
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path, base = to, filepath.Base(to)
	}
	return name
}

// maxLinks is how many symbolic links are followed, as by the kernel (MAXSYMLINKS, linux/namei.h).
const maxLinks = 40
