// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"path/filepath"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// prepare fills in the plan's programs: swiftcni from source unless it names other plugins, swiftctl,
// and the reference's host-local, which shares the leases.
func prepare(p *Plan, resident bool, progress io.Writer) error {
	root, err := build.Root()
	if err != nil {
		return err
	}
	if p.Plugins == "" {
		p.Plugins = filepath.Join(root, ".cache", "race")
		if err := build.Swiftcni(progress, root, p.Plugins, ""); err != nil {
			return err
		}
	}
	if !p.Foreign {
		p.Swiftctl = filepath.Join(root, ".cache", "race", "swiftctl")
		if err := build.Swiftctl(progress, root, p.Swiftctl); err != nil {
			return err
		}
	}
	if resident {
		p.Resident = p.Swiftctl
	}
	dir, err := build.Reference(progress, root)
	p.HostLocal = filepath.Join(dir, "host-local")
	return err
}
