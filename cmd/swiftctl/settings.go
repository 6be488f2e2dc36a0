// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// table is a table of a TOML file; that of a missing file or key is nil.
type table map[string]any

// toml reads a file. One that can't be read sets nothing: the runtime will say so.
func (m machine) toml(path string) (t table) {
	_, _ = toml.Decode(m.text(path), &t)
	return t
}

func (m machine) text(path string) string {
	text, _ := os.ReadFile(m.path(path))
	return string(text)
}

// glob returns the files that patterns match, pattern by pattern, without the root.
func (m machine) glob(patterns ...string) (files []string) {
	for _, p := range patterns {
		matches, _ := filepath.Glob(m.path(p)) // a bad pattern matches nothing
		for _, match := range matches {
			files = append(files, strings.TrimPrefix(match, strings.TrimSuffix(m.root, "/")))
		}
	}
	return files
}

func (t table) table(key string) table {
	sub, _ := t[key].(map[string]any)
	return sub
}

// tables are the tables in t, ordered by their keys.
func (t table) tables() (list []table) {
	keys := make([]string, 0, len(t))
	for key := range t {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if sub := t.table(key); sub != nil {
			list = append(list, sub)
		}
	}
	return list
}

// strings are those that a key is set to: one, or a list.
func (t table) strings(key string) (list []string) {
	switch v := t[key].(type) {
	case string:
		if v != "" {
			list = append(list, v)
		}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
	}
	return list
}

// appends reports whether a list of containers.conf(5) adds to the one before, by {append=true}.
func (t table) appends(key string) bool {
	list, _ := t[key].([]any)
	return slices.ContainsFunc(list, func(e any) bool {
		attribute, ok := e.(map[string]any)
		return ok && attribute["append"] == true
	})
}

// set takes the directories of a file's key, if it's set.
func (s *seeker) set(file string, t table, key string) {
	list := absolute(t.strings(key))
	if len(list) == 0 {
		return
	}
	if t.appends(key) {
		list = append(slices.Clone(s.dirs), list...)
	}
	s.dirs, s.file, s.key = list, file, key
}

// match takes the directories that an expression finds in a file's text, the last of them.
func (s *seeker) match(file, text string, e *regexp.Regexp, separator string) {
	found := e.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		return
	}
	if list := absolute(strings.Split(found[len(found)-1][1], separator)); len(list) > 0 {
		s.dirs, s.file = list, file
	}
}

// absolute are the directories among some that mean the same to every process, each in one spelling.
func absolute(dirs []string) (list []string) {
	for _, dir := range dirs {
		if filepath.IsAbs(dir) {
			list = append(list, filepath.Clean(dir))
		}
	}
	return list
}
