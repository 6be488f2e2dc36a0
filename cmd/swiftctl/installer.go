// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// modulePath begins the path of the main module of a binary of ours.
const modulePath = "github.com/swiftcni/swiftcni"

// referenceSuffix marks the former files, which usually are the reference plugins.
const referenceSuffix = ".reference"

// installer puts one binary and its names into a directory.
type installer struct {
	dir, binary string
	names       []string
	aliases     []alias
	copy, force bool
	dry         bool // say what would be done, and do nothing
	out         io.Writer
}

// run installs in one directory, which was checked.
func (in *installer) run() error {
	if !in.dry {
		if err := os.MkdirAll(in.dir, 0o755); err != nil {
			return err
		}
	}
	if err := in.putBinary(); err != nil {
		return err
	}
	for _, name := range in.names {
		if err := in.putName(name); err != nil {
			return err
		}
	}
	for _, a := range in.aliases {
		if err := in.putLink(a.name, a.plugin); err != nil {
			return err
		}
	}
	return nil
}

func (in *installer) path(name string) string { return filepath.Join(in.dir, name) }

func (in *installer) say(what, name string) {
	fmt.Fprintf(in.out, "%-10s %s\n", what, in.path(name))
}

// checkBinary reports what prevents any installation.
func (in *installer) checkBinary() error {
	if ours(in.binary) {
		return nil
	}
	if _, err := os.Stat(in.binary); err != nil {
		return err
	}
	return fmt.Errorf("%s is not a swiftcni binary", in.binary)
}

// check names everything that prevents the installation in the directory.
func (in *installer) check() error {
	var foreign, dirs []string
	for _, name := range in.all() {
		info, err := os.Lstat(in.path(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.IsDir():
			dirs = append(dirs, in.path(name))
		case !in.force && !in.isOurs(name):
			foreign = append(foreign, in.path(name))
		}
	}
	if dirs != nil {
		return errors.New("directories are in the way: " + strings.Join(dirs, ", "))
	}
	if foreign != nil {
		return errors.New("other programs' files are in the way: " + strings.Join(foreign, ", ") +
			" (--force replaces them and keeps them as NAME" + referenceSuffix + ")")
	}
	return nil
}

// isOurs reports whether a file of the directory is a link to our binary, wherever that is by now,
// or a binary of ours of any version. So is an alias whose plugin is gone.
func (in *installer) isOurs(name string) bool {
	if target, err := os.Readlink(in.path(name)); err == nil && name != binaryName {
		return target == binaryName || slices.Contains(in.aliases, alias{name, target}) && (in.isOurs(target) || !in.exists(target))
	}
	return ours(in.path(name))
}

func (in *installer) exists(name string) bool {
	_, err := os.Lstat(in.path(name))
	return !errors.Is(err, fs.ErrNotExist)
}

func ours(path string) bool {
	info, err := buildinfo.ReadFile(path)
	return err == nil && (info.Main.Path == modulePath || strings.HasPrefix(info.Main.Path, modulePath+"/"))
}

// putBinary installs the binary, unless the same one is there.
func (in *installer) putBinary() error {
	same, err := sameFile(in.binary, in.path(binaryName))
	if err != nil {
		return err
	}
	if same {
		in.say("unchanged", binaryName)
		return nil
	}
	return in.replace("installed", binaryName, func(temp string) error { return copyBinary(in.binary, temp) })
}

// putLink makes a name a link to a file beside it.
func (in *installer) putLink(name, to string) error {
	if target, err := os.Readlink(in.path(name)); err == nil && target == to {
		in.say("unchanged", name)
		return nil
	}
	return in.replace("linked", name, func(temp string) error { return os.Symlink(to, temp) })
}

// putName makes one plugin's name lead to the binary.
func (in *installer) putName(name string) error {
	if !in.copy {
		return in.putLink(name, binaryName)
	}
	if _, err := os.Readlink(in.path(name)); err != nil { // there was no symbolic link
		source := in.path(binaryName)
		if in.dry {
			source = in.binary
		}
		same, err := sameFile(source, in.path(name))
		if err != nil {
			return err
		}
		if same {
			in.say("unchanged", name)
			return nil
		}
	}
	return in.replace("copied", name, func(temp string) error {
		if os.Link(in.path(binaryName), temp) == nil {
			return nil
		}
		return copyBinary(in.path(binaryName), temp)
	})
}

// replace makes a file beside the old one and renames it into place. A process that executes the
// old one goes on with it.
func (in *installer) replace(what, name string, create func(temp string) error) error {
	if in.dry {
		if err := in.keep(name); err != nil {
			return err
		}
		in.say(what, name)
		return nil
	}
	temp := in.path("." + name + ".new")
	// A call that was killed may have left it. Two calls at once would disturb each other, and one
	// of them then fails.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := errors.Join(create(temp), setLabel(temp, in.label(name))); err != nil {
		_ = os.Remove(temp)
		return err
	}
	if err := in.keep(name); err != nil {
		_ = os.Remove(temp)
		return err
	}
	if err := os.Rename(temp, in.path(name)); err != nil {
		_ = os.Remove(temp)
		return err
	}
	// If both are links to one file, rename(2) does nothing, and leaves both.
	_ = os.Remove(temp)
	in.say(what, name)
	return nil
}

// keep gives another program's file a second name, unless one was kept before. The first name stays
// until it's replaced, so the plugin is never missing.
func (in *installer) keep(name string) error {
	if _, err := os.Lstat(in.path(name)); errors.Is(err, fs.ErrNotExist) || in.isOurs(name) {
		return nil
	}
	kept := name + referenceSuffix
	if in.dry {
		if _, err := os.Lstat(in.path(kept)); err != nil {
			in.say("kept", kept)
		}
		return nil
	}
	err := os.Link(in.path(name), in.path(kept))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil { // a file system without hard links
		err = os.Rename(in.path(name), in.path(kept))
	}
	if err == nil {
		in.say("kept", kept)
	}
	return err
}

// sameFile reports whether two paths lead to one file, or b is a regular file with the content and
// mode of a.
func sameFile(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Lstat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !infoB.Mode().IsRegular() || infoB.Mode().Perm() != 0o755 || infoA.Size() != infoB.Size() {
		return false, nil
	}
	if os.SameFile(infoA, infoB) {
		return true, nil
	}
	textA, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	textB, err := os.ReadFile(b)
	return err == nil && bytes.Equal(textA, textB), err
}

// copyBinary copies to a file that must not exist. The copy is on disk before it gets its name: a
// plugin must not be empty after a power cut.
func copyBinary(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	// OpenFile's mode isn't enough, since the umask cuts it.
	if err := dst.Chmod(0o755); err != nil {
		return err
	}
	return dst.Sync()
}
