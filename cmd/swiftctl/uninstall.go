// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"
)

// undo takes back what run did, in the directory as it is now. The binary goes last, since names lead to it, and aliases go
// first, since they lead to names.
func (in *installer) undo() error {
	names, err := in.installed()
	if err != nil {
		return err
	}
	for _, name := range slices.Concat(in.aliasNames(), names, []string{binaryName}) {
		if err := in.takeBack(name); err != nil {
			return err
		}
	}
	return nil
}

// installed are the plugins' names that are in the directory, or were when others were kept, and those that an older or a
// newer version linked.
func (in *installer) installed() (names []string, err error) {
	names = slices.Clone(in.names)
	entries, err := os.ReadDir(in.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		target, err := os.Readlink(in.path(e.Name()))
		if err == nil && target == binaryName && !slices.Contains(names, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// takeBack puts the former file of a name back, in one step, or removes ours if there was none. Another's file stays, and so
// does a directory.
func (in *installer) takeBack(name string) error {
	temp := "." + name + ".new" // of an installation that was killed
	if _, err := os.Lstat(in.path(temp)); err == nil && !in.dry {
		if err := os.Remove(in.path(temp)); err != nil {
			return err
		}
	}
	info, err := os.Lstat(in.path(name))
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		return err
	}
	former, formerErr := os.Lstat(in.path(name + referenceSuffix))
	if !absent && (info.IsDir() || !in.isOurs(name)) {
		if formerErr == nil && os.SameFile(info, former) { // an installation was killed between the two
			return in.act("removed", name+referenceSuffix, func() error { return os.Remove(in.path(name + referenceSuffix)) })
		}
		return nil
	}
	if formerErr == nil {
		return in.act("restored", name, func() error { return os.Rename(in.path(name+referenceSuffix), in.path(name)) })
	}
	if absent {
		return nil
	}
	return in.act("removed", name, func() error { return os.Remove(in.path(name)) })
}

// act does something and says so, or only says so.
func (in *installer) act(what, name string, do func() error) error {
	if !in.dry {
		if err := do(); err != nil {
			return err
		}
	}
	in.say(what, name)
	return nil
}
