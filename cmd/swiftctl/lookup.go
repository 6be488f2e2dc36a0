// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// defaultPluginDir is where the specification's examples, containerd, CRI-O and Kubernetes look
	// for plugins.
	defaultPluginDir = "/opt/cni/bin"
	// firstPluginDir is podman's first directory. No package puts anything there.
	firstPluginDir = "/usr/local/libexec/cni"
)

// A seeker is a runtime that looks for each plugin in a list of directories, and uses the first
// that it finds.
type seeker struct {
	name string
	here bool // it's on this host
	// confs are patterns of its configuration files, of which the last one wins. keys are the names
	// of the list in them.
	confs, keys []string
	dirs        []string // without configuration
	own         string   // the first of them, if no package puts anything there
}

// seekers are the runtimes that packages configure, or whose own list has more than
// defaultPluginDir.
func seekers() []seeker {
	_, podman := exec.LookPath("podman")
	_, containerd := os.Stat("/etc/containerd/config.toml")
	_, crio := os.Stat("/etc/crio")
	return []seeker{
		{"podman", podman == nil,
			[]string{"/usr/share/containers/containers.conf", "/etc/containers/containers.conf", "/etc/containers/containers.conf.d/*.conf"},
			[]string{"cni_plugin_dirs"}, // containers.conf(5)
			[]string{firstPluginDir, "/usr/libexec/cni", "/usr/local/lib/cni", "/usr/lib/cni", defaultPluginDir}, firstPluginDir},
		{"containerd", containerd == nil, []string{"/etc/containerd/config.toml"}, []string{"bin_dir", "bin_dirs"}, []string{defaultPluginDir}, ""},
		{"CRI-O", crio == nil, []string{"/etc/crio/crio.conf", "/etc/crio/crio.conf.d/*.conf"}, []string{"plugin_dirs"}, []string{defaultPluginDir}, ""},
	}
}

// configured returns the list that a configuration sets and the file that does, or the runtime's
// own list.
func (s seeker) configured() (dirs []string, file string) {
	dirs = s.dirs
	for _, pattern := range s.confs {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			text, err := os.ReadFile(f)
			for _, key := range s.keys {
				if list := tomlStrings(string(text), key); err == nil && len(list) > 0 {
					dirs, file = list, f
				}
			}
		}
	}
	return dirs, file
}

// tomlStrings returns the strings that a key of a TOML file is set to: a string, or a list over any
// lines. Tables are ignored, since no two have these keys. An unset key has none.
func tomlStrings(text, key string) (list []string) {
	value, open := "", false
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if !open {
			name, rest, _ := strings.Cut(line, "=")
			if strings.TrimSpace(name) != key {
				continue
			}
			value, line = "", rest
		}
		value += line
		open = strings.Contains(value, "[") && !strings.Contains(value, "]")
		if open {
			continue
		}
		list = nil
		for i, part := range strings.Split(value, `"`) {
			if i%2 == 1 {
				list = append(list, part)
			}
		}
	}
	return list
}

// others are plugins with our names that a runtime finds and that aren't ours: by directory, in the
// runtime's order.
func (s seeker) others(names []string) (dirs []string, found map[string][]string) {
	list, _ := s.configured()
	found = map[string][]string{}
	for _, name := range names {
		for _, dir := range list {
			in := installer{dir: dir}
			if _, err := os.Stat(in.path(name)); err != nil {
				continue
			}
			if !in.isOurs(name) {
				found[dir] = append(found[dir], name)
			}
			break
		}
	}
	for _, dir := range list {
		if found[dir] != nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs, found
}

// installDirs are the directories for plugins if none is named: the one in which all runtimes look,
// and one before other plugins that podman would find.
func installDirs(list []seeker, names []string) []string {
	dirs := []string{defaultPluginDir}
	for _, s := range list {
		looks, _ := s.configured()
		if !s.here || s.own == "" || looks[0] != s.own {
			continue
		}
		if elsewhere, _ := s.others(names); len(elsewhere) > 0 || ours(filepath.Join(s.own, binaryName)) {
			dirs = append(dirs, s.own)
		}
	}
	return dirs
}

// unreached returns advice for each runtime of the host that doesn't find the plugins in dir.
func unreached(list []seeker, dir string, names []string) (advice []string) {
	for _, s := range list {
		if !s.here {
			continue
		}
		looks, file := s.configured()
		remedy := "swiftctl install, without DIR, puts ours before them"
		if file != "" {
			remedy = fmt.Sprintf("name %s first in %s of %s, or swiftctl install --force %s", dir, s.keys[0], file, looks[0])
		}
		dirs, found := s.others(names)
		for _, d := range dirs {
			advice = append(advice, fmt.Sprintf("%s finds other %s in %s: %s", s.name, strings.Join(found[d], ", "), d, remedy))
		}
		if len(dirs) == 0 && !slices.ContainsFunc(looks, func(d string) bool { return ours(filepath.Join(d, binaryName)) }) {
			advice = append(advice, fmt.Sprintf("%s looks only in %s: %s", s.name, strings.Join(looks, ", "), remedy))
		}
	}
	return advice
}
