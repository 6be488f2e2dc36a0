// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/cni"
)

// programNames are the programs, as the Makefile builds them.
var programNames = []string{"swiftcni", "swiftctl", "swiftcni-exporter"}

// built is what was made for one architecture, and what belongs to it.
type built struct {
	target target
	data   map[string][]byte // by a program's name
	info   map[string]*buildinfo.BuildInfo
	unit   tree // systemd's, with /usr/local/bin
	pages  tree // manual pages, in man5 and man8
	docs   tree // texts that come with the programs
}

// build makes the programs by the Makefile, which alone knows the flags.
func (r *release) build(t target) (*built, error) {
	dir := filepath.Join(r.work, t.name)
	if err := r.tool(r.root, t.env(), "make", "build", "BIN="+dir, "VERSION="+r.version); err != nil {
		return nil, err
	}
	b := &built{target: t, data: map[string][]byte{}, info: map[string]*buildinfo.BuildInfo{}}
	for _, name := range programNames {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		b.data[name] = data
		if b.info[name], err = buildinfo.Read(bytes.NewReader(data)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	var err error
	if b.unit, err = readTree(r.in("cmd/swiftctl/units"), "*.*"); err != nil {
		return nil, err
	}
	if b.pages, err = r.manual(); err != nil {
		return nil, err
	}
	b.docs, err = r.documents(b)
	return b, err
}

// readTree reads the files of a directory that match a pattern.
func readTree(dir, pattern string) (t tree, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	if paths == nil {
		return nil, fmt.Errorf("%s has no %s", dir, pattern)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		t = append(t, file{name: filepath.Base(p), data: data})
	}
	return t, nil
}

// heading is what a manual page says of its source.
var heading = regexp.MustCompile(`(?m)^(\.TH .*) swiftcni$`)

// manual are the pages, which name the version.
func (r *release) manual() (t tree, err error) {
	pages, err := readTree(r.in("docs/man"), "*.[58]")
	if err != nil {
		return nil, err
	}
	for _, p := range pages {
		if !heading.Match(p.data) {
			return nil, fmt.Errorf("%s has no heading", p.name)
		}
		p.data = heading.ReplaceAll(p.data, []byte(`$1 "swiftcni `+r.version[1:]+`"`))
		p.name = "man" + strings.TrimPrefix(path.Ext(p.name), ".") + "/" + p.name
		t = append(t, p)
	}
	return t, nil
}

// programs are the three, below a directory that ends in a slash.
func (b *built) programs(dir string) (t tree) {
	for _, name := range programNames {
		t = append(t, file{name: dir + name, data: b.data[name], exec: true})
	}
	return t
}

// firstName is the plugin's name that is the file of which the others are names. Who unpacks some plugins only takes this one
// too, since the others that give addresses by leases need it.
const firstName = "host-local"

// plugins are the plugins' names for one file. They are hard links: who unpacks the CNI project's archive keeps regular files
// by their names, and may remove all others.
func (b *built) plugins(dir string) tree {
	t := tree{{name: dir + firstName, data: b.data["swiftcni"], exec: true}}
	for _, name := range pluginNames() {
		if name != firstName {
			t = append(t, file{name: dir + name, hard: dir + firstName, exec: true})
		}
	}
	return t
}

func pluginNames() []string {
	names := cni.PluginNames()
	slices.Sort(names)
	return names
}

// units are systemd's, for programs in a directory.
func (b *built) units(programs string) tree {
	t := slices.Clone(b.unit)
	for i := range t {
		t[i].data = bytes.ReplaceAll(t[i].data, []byte("/usr/local/bin/"), []byte(programs))
	}
	return t
}
