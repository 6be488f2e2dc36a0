// SPDX-License-Identifier: Apache-2.0

package hostlocal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// CopyStore copies what is known of the network's leases into a directory of its own, which is the
// caller's to remove. It doesn't lock: what changes meanwhile is as good as what changes
// afterwards.
func (k *Keys) CopyStore() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "swiftcni-explain-"); err != nil {
		return "", err
	}
	for _, part := range []string{k.conf.Name, filepath.Join(".swiftcni", k.conf.Name)} {
		from, to := filepath.Join(k.conf.IPAM.DataDir, part), filepath.Join(dir, part)
		entries, err := os.ReadDir(from)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.MkdirAll(to, 0o700)
		}
		for _, entry := range entries {
			if err == nil {
				err = copyEntry(filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name()), entry.Type())
			}
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// copyEntry copies a lease or a record; one that's gone by now isn't missed.
func copyEntry(from, to string, kind fs.FileMode) error {
	var err error
	switch kind {
	case fs.ModeSymlink:
		var text string
		if text, err = os.Readlink(from); err == nil {
			err = os.Symlink(text, to)
		}
	case 0:
		var text []byte
		if text, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
	case fs.ModeDir: // a boot that the records are of
		err = os.Mkdir(to, 0o700)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
