// SPDX-License-Identifier: Apache-2.0

package fault

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Writable asks whether a directory can be written to, or the nearest one above it that exists.
func Writable(dir string) error {
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if err == nil {
			return nil
		}
		if err != unix.ENOENT || dir == "/" {
			return &fs.PathError{Op: "write to", Path: dir, Err: err}
		}
		dir = filepath.Dir(dir)
	}
}
