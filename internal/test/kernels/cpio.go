// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeCPIO writes the tree below dir as an archive that Linux unpacks as its first root file
// system, with every name below prefix. Several archives may follow one another in one file. The
// format is "newc": Documentation/driver-api/early-userspace/buffer-format.rst of Linux.
func writeCPIO(w io.Writer, dir, prefix string) error {
	inode := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		inode++
		return writeEntry(w, path, filepath.Join(prefix, relative), inode)
	})
	if err != nil {
		return err
	}
	return writeHeader(w, "TRAILER!!!", 0, 0, nil)
}

func writeEntry(w io.Writer, path, name string, inode int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	const typeDir, typeFile, typeLink = 0o040000, 0o100000, 0o120000
	mode := uint32(info.Mode().Perm())
	var data []byte
	switch {
	case info.IsDir():
		mode |= typeDir
	case info.Mode()&fs.ModeSymlink != 0:
		mode |= typeLink
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		data = []byte(target)
	case info.Mode().IsRegular():
		mode |= typeFile
		if data, err = os.ReadFile(path); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s is neither directory, link nor file", path)
	}
	return writeHeader(w, name, mode, inode, data)
}

// writeHeader writes one entry: magic, thirteen numbers of eight hexadecimal digits, the name and
// the data, the last two each padded to four bytes.
func writeHeader(w io.Writer, name string, mode uint32, inode int, data []byte) error {
	const links = 1
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(header), data} {
		padding := make([]byte, (4-len(part)%4)%4)
		if _, err := w.Write(append(part, padding...)); err != nil {
			return err
		}
	}
	return nil
}

// packFile appends the archive of dir to a file. It makes the file if it doesn't exist.
func packFile(file, dir, prefix string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(writeCPIO(w, dir, prefix), w.Flush(), f.Close())
}
