// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// search is where the runtimes of a machine look for plugins of these names.
type search struct {
	machine machine
	seekers []seeker
	names   []string
	binary  string // the plugins' program that is to be installed
}

// clean makes directories comparable with those of runtimes.
func (l search) clean(dirs ...string) (list []string) {
	for _, dir := range dirs {
		if abs, err := filepath.Abs(dir); l.machine.root == "" && err == nil {
			dir = abs
		}
		list = append(list, filepath.Clean(dir))
	}
	return list
}

// ours reports whether a directory has our plugins, but for one that came with a package: the
// package's manager replaces them there.
func (l search) ours(dir string) bool {
	path := l.machine.path(filepath.Join(dir, binaryName))
	at, err := os.Stat(path)
	return err == nil && !(isFile(l.binary, at) && l.machine.packaged(at)) && ours(path)
}

// packaged reports whether a file lies where packages have ours.
func (m machine) packaged(file os.FileInfo) bool {
	return slices.ContainsFunc(packagedBinaries[:], func(path string) bool { return isFile(m.path(path), file) })
}

// isFile reports whether a path leads to a file.
func isFile(path string, file os.FileInfo) bool {
	at, err := os.Stat(path)
	return err == nil && os.SameFile(at, file)
}

// looks are the directories of a runtime that count once those in chosen have our plugins.
func (l search) looks(s seeker, chosen []string) []string {
	if !s.single {
		return s.dirs
	}
	for i, dir := range s.dirs {
		if slices.Contains(chosen, dir) || l.machine.exists(dir) {
			return s.dirs[i : i+1]
		}
	}
	return s.dirs[:1]
}

// others are plugins with our names that a runtime finds and that aren't ours, once those in chosen
// are: by directory, in the runtime's order. ours is the first directory with ours, or "".
func (l search) others(s seeker, chosen []string) (dirs []string, found map[string][]string, ours string) {
	list := l.looks(s, chosen)
	found = map[string][]string{}
	for _, name := range l.names {
		for _, dir := range list {
			in := installer{dir: l.machine.path(dir)}
			_, err := os.Stat(in.path(name))
			mine := slices.Contains(chosen, dir) || err == nil && in.isOurs(name)
			if mine && ours == "" {
				ours = dir
			}
			if err == nil && !mine {
				found[dir] = append(found[dir], name)
			}
			if err == nil || mine {
				break
			}
		}
	}
	for _, dir := range list {
		if found[dir] != nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs, found, ours
}

// dirs are the directories for plugins if none is named: where ours are already, and as few more as
// let each runtime of the host find ours first. They begin with the one that most runtimes know,
// unless there are runtimes and none looks there. A directory that only some runtime's list makes
// one of them, and in which others' plugins are, is left to its owner without force: it may be a
// package's.
func (l search) dirs(force bool) (chosen []string) {
	known := func(s seeker) bool { return slices.Contains(s.dirs, defaultPluginDir) }
	if len(l.seekers) == 0 || slices.ContainsFunc(l.seekers, known) {
		chosen = append(chosen, defaultPluginDir)
	}
	for _, dir := range l.installed() {
		if !slices.Contains(chosen, dir) {
			chosen = append(chosen, dir)
		}
	}
	for _, s := range l.seekers {
		others, _, mine := l.others(s, chosen)
		if len(others) == 0 && mine != "" {
			continue
		}
		if force || len(chosen) == 0 || !slices.Contains(others, s.dirs[0]) {
			chosen = append(chosen, s.dirs[0])
		}
	}
	return chosen
}

// installed are the directories that have our plugins, of those in which a runtime looks.
func (l search) installed() (list []string) {
	for _, s := range append([]seeker{{dirs: []string{defaultPluginDir}}}, l.seekers...) {
		for _, dir := range s.dirs {
			if l.ours(dir) && !slices.Contains(list, dir) {
				list = append(list, dir)
			}
		}
	}
	return list
}

// reason says which runtimes look in one of the chosen directories first, and where they find
// others.
func (l search) reason(dir string, chosen []string) string {
	var texts []string
	for _, s := range l.seekers {
		looks := l.looks(s, chosen)
		at := slices.Index(looks, dir)
		if at < 0 || slices.ContainsFunc(looks[:at], func(d string) bool { return slices.Contains(chosen, d) }) {
			continue
		}
		text := s.name
		if s.file != "" {
			text += " by " + s.file
		}
		if others, _, _ := l.others(s, nil); len(others) > 0 && others[0] != dir {
			order := ", before others' in "
			if slices.Index(looks, others[0]) < at {
				order = ", after others' in "
			}
			text += order + others[0]
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return "no runtime of this host was seen to look here"
	}
	return "for " + strings.Join(texts, "; ")
}

// unreached returns advice for each runtime of the host that doesn't find our plugins, once they
// are in some directories.
func (l search) unreached(chosen []string) (advice []string) {
	for _, s := range l.seekers {
		dirs, found, mine := l.others(s, chosen)
		for _, d := range dirs {
			advice = append(advice, fmt.Sprintf("%s finds other %s in %s: %s", s.name, strings.Join(found[d], ", "), d, remedy(s, dirs, chosen)))
		}
		if len(dirs) == 0 && mine == "" {
			advice = append(advice, fmt.Sprintf("%s looks only in %s: %s", s.name, strings.Join(l.looks(s, chosen), ", "), remedy(s, dirs, chosen)))
		}
	}
	return advice
}

// remedy is what lets a runtime find ours before others, which it finds in some directories. Where
// nothing was chosen, each runtime finds ours.
func remedy(s seeker, others, chosen []string) string {
	switch {
	case s.file == "" && slices.Contains(others, s.dirs[0]):
		return "swiftctl install --force, without DIR, replaces them"
	case s.file != "":
		return fmt.Sprintf("name %s first in %s of %s, or swiftctl install --force %s", chosen[0], s.key, s.file, s.dirs[0])
	}
	return "swiftctl install, without DIR, puts ours before them"
}
