// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A system is a root file system from which a guest's programs are taken: the machine's, "/", or one
// of unpacked packages.
type system struct {
	root    string
	triplet string // of its libraries' directory
}

// Program puts a program of the machine's into dir, with its libraries, as a file for [Guest.Files]. It
// returns the words of the command that runs it in a guest that has dir as its /mnt/in.
func Program(name, dir, in string) (command []string, err error) {
	if err := (system{root: "/", triplet: AMD64.triplet}).copyProgram(name, dir); err != nil {
		return nil, err
	}
	libraries := filepath.Join("/mnt", in, "lib", AMD64.triplet) + ":" + filepath.Join("/mnt", in, "usr/lib", AMD64.triplet)
	return []string{filepath.Join("/mnt", in, "lib64/ld-linux-x86-64.so.2"), "--library-path", libraries, filepath.Join("/mnt", in, "usr/sbin", name)}, nil
}

// copyProgram puts a program into root/usr/sbin, and its libraries where its loader looks for them.
func (s system) copyProgram(name, root string) error {
	path, err := s.find(name, "usr/sbin", "usr/bin", "sbin", "bin")
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(name, "tables") {
		// Nobody has chosen between iptables' two kinds, of which Debian's choice is this one.
		program, verb, _ := strings.Cut(name, "-")
		path, err = s.find(strings.TrimSuffix(program+"-nft-"+verb, "-"), "usr/sbin")
	}
	if err != nil {
		return err
	}
	if err := s.copyLibraries(path, root); err != nil {
		return err
	}
	return copyTree(filepath.Join(s.root, path), filepath.Join(root, "usr/sbin", name))
}

// find returns the path, below the system's root, of a file in the first of the directories that has
// it. A link to an absolute path leads there below the root.
func (s system) find(name string, dirs ...string) (string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		target, err := os.Readlink(filepath.Join(s.root, path))
		if err == nil && filepath.IsAbs(target) {
			return s.find(filepath.Base(target), filepath.Dir(target))
		}
		if exists(filepath.Join(s.root, path)) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s below %s: %w", name, s.root, fs.ErrNotExist)
}

// copyLibraries copies the loader and the libraries of a program or library, and those that they
// need themselves.
func (s system) copyLibraries(path, root string) error {
	f, err := elf.Open(filepath.Join(s.root, path))
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return err
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text := make([]byte, p.Filesz)
			if _, err := p.ReadAt(text, 0); err != nil {
				return err
			}
			loader := strings.TrimRight(string(text), "\x00")
			from, err := s.find(filepath.Base(loader), filepath.Dir(loader), filepath.Join("usr", filepath.Dir(loader)))
			if err != nil {
				return err
			}
			if err := copyTree(filepath.Join(s.root, from), filepath.Join(root, loader)); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		library, err := s.find(name, "lib/"+s.triplet, "usr/lib/"+s.triplet, "lib", "usr/lib")
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		to := filepath.Join(root, library)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		if err := copyTree(filepath.Join(s.root, library), to); err != nil {
			return err
		}
		if err := s.copyLibraries(library, root); err != nil {
			return err
		}
	}
	return nil
}
