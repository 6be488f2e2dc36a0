// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path"
	"slices"
	"strings"
)

// file is one of a tree: its data, or a link. A directory is only the way to a file.
type file struct {
	name string // below the tree's root, as in lib/systemd/system/swiftcni.socket
	data []byte
	exec bool   // it's a program
	hard string // the file of the tree that it's another name of
	soft string // where it leads as a symbolic link
}

func (f file) mode() int64 {
	switch {
	case f.soft != "":
		return 0o777
	case f.exec:
		return 0o755
	}
	return 0o644
}

type tree []file

// under is the tree below a directory, which ends in a slash.
func (t tree) under(dir string) tree {
	list := slices.Clone(t)
	for i := range list {
		list[i].name = dir + list[i].name
		if list[i].hard != "" {
			list[i].hard = dir + list[i].hard
		}
	}
	return list
}

// only is the part of the tree with these names.
func (t tree) only(names ...string) tree {
	return slices.DeleteFunc(slices.Clone(t), func(f file) bool { return !slices.Contains(names, f.name) })
}

// sorted is by name, but a file comes before its other names.
func (t tree) sorted() tree {
	list := slices.Clone(t)
	slices.SortStableFunc(list, func(a, b file) int {
		if (a.hard == "") != (b.hard == "") {
			if a.hard == "" {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	return list
}

// dirs are the directories of the tree, each before those in it.
func (t tree) dirs() []string {
	var list []string
	for _, f := range t {
		for d := path.Dir(f.name); d != "."; d = path.Dir(d) {
			list = append(list, d)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// size is that of all files' data.
func (t tree) size() (sum int) {
	for _, f := range t {
		sum += len(f.data)
	}
	return sum
}
