// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// scripts are what packages run at their installation and removal.
//
//go:embed scripts
var scripts embed.FS

// format is a kind of package, with a distribution's habits.
type format struct {
	packager string   // nfpm's name of it
	plugins  string   // the directory
	licenses string   // the directory, or "" if the documents' file copyright says which ones there are
	replaces []string // packages with the CNI project's plugins
	provides []string // what those provide, on which others depend. VERSION is the one that swiftcni equals
	depends  []string
	systemd  bool
	arch     func(target) string
	version  func(core, pre string) string
	file     string // name, of version and architecture
}

// Fedora's package has an epoch. openSUSE's is called as Alpine's. rpm has a shell be installed before what has scripts only if the
// package says so.
var formats = []format{
	{"deb", "usr/lib/cni/", "", []string{"containernetworking-plugins"}, []string{"containernetworking-plugins (= VERSION)", "container-network-stack (= 1)"},
		nil, true, func(t target) string { return t.deb }, tilde, "swiftcni_%s-1_%s.deb"},
	{"rpm", "usr/libexec/cni/", "usr/share/licenses/swiftcni/", []string{"containernetworking-plugins", "cni-plugins"},
		[]string{"containernetworking-plugins = 1:VERSION", "containernetworking-cni = 1:VERSION", "container-network-stack = 1", "kubernetes-cni", "cni-plugins = VERSION"},
		[]string{"/bin/sh"}, true, func(t target) string { return t.rpm }, tilde, "swiftcni-%s-1.%s.rpm"},
	{"apk", "usr/libexec/cni/", "usr/share/licenses/swiftcni/", []string{"cni-plugins"}, []string{"cni-plugins=VERSION"},
		nil, false, func(t target) string { return t.apk }, alpine, "swiftcni-%s-r1.%s.apk"},
}

const (
	homepage = "https://github.com/swiftcni/swiftcni"
	summary  = "Plugins that attach containers to networks (CNI)"
)

// provided is what the package provides.
func (f format) provided() (list []string) {
	for _, p := range f.provides {
		list = append(list, strings.ReplaceAll(p, "VERSION", build.ReferenceVersion[1:]))
	}
	return list
}

// packages writes an architecture's, for the distributions that know it.
func (r *release) packages(b *built, docs tree) error {
	for _, f := range formats {
		arch := f.arch(b.target)
		if arch == "" {
			continue
		}
		of := docs
		if f.packager == "deb" {
			of = r.debian(docs)
		}
		pack := r.pack
		if f.packager == "apk" {
			pack = r.apk
		}
		if err := pack(f, arch, f.tree(b, of)); err != nil {
			return fmt.Errorf("%s: %w", f.packager, err)
		}
	}
	return nil
}

// tree is what a package installs.
func (f format) tree(b *built, docs tree) tree {
	list := tree{
		{name: f.plugins + "swiftcni", data: b.data["swiftcni"], exec: true},
		{name: "usr/bin/swiftctl", data: b.data["swiftctl"], exec: true},
		{name: "usr/bin/swiftcni-exporter", data: b.data["swiftcni-exporter"], exec: true},
	}
	for _, name := range pluginNames() {
		list = append(list, file{name: f.plugins + name, soft: "swiftcni"})
	}
	// podman's netavark looks for drivers in the neighbouring directory.
	list = append(list, file{name: path.Join(f.plugins, "../netavark/swiftcni"), soft: "../cni/swiftcni"})
	for _, page := range b.pages {
		list = append(list, file{name: "usr/share/man/" + page.name + ".gz", data: gzipped(page.data)})
	}
	for _, d := range docs {
		if f.licenses != "" && (d.name == "LICENSE" || d.name == licensesName) {
			d.name = f.licenses + d.name
		} else {
			d.name = path.Join("usr/share/doc/swiftcni", d.name)
		}
		list = append(list, d)
	}
	if f.systemd {
		list = append(list, b.units("/usr/bin/").under("usr/lib/systemd/system/")...)
	}
	return list
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = z.Write(data)
	_ = z.Close() // a buffer takes everything
	return b.Bytes()
}

// pack writes one package by nfpm.
func (r *release) pack(f format, arch string, t tree) error {
	contents, err := r.contents(f, t)
	if err != nil {
		return err
	}
	core, pre := split(r.version)
	version := f.version(core, pre)
	info := &nfpm.Info{
		Name: "swiftcni", Arch: arch, Platform: "linux", Version: version, VersionSchema: "none", Release: "1",
		Section: "net", Priority: "optional", License: "Apache-2.0", Homepage: homepage,
		Maintainer: maintainer, MTime: r.made, DisableGlobbing: true,
		Description: summary + "\nA drop-in replacement of the CNI project's plugins, in one program, with a\ntool to look at what is attached.",
		Overridables: nfpm.Overridables{
			Contents: contents,
			Provides: f.provided(), Replaces: f.replaces, Conflicts: f.replaces, Depends: f.depends,
			RPM: nfpm.RPM{Arch: arch, BuildHost: "localhost", Summary: summary, Compression: "gzip"},
			Deb: nfpm.Deb{Arch: arch, Compression: "xz"},
		},
	}
	if f.systemd {
		if info.Scripts, err = r.scripts(); err != nil {
			return err
		}
	}
	if f.packager == "deb" {
		info.License = "" // dpkg has no such field
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, f.packager); err != nil {
		return err
	}
	packager, err := nfpm.Get(f.packager)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := packager.Package(info, &text); err != nil {
		return err
	}
	return r.put(fmt.Sprintf(f.file, version, arch), text.Bytes())
}

// contents are a tree for nfpm, which wants files.
func (r *release) contents(format format, t tree) (list files.Contents, err error) {
	dir, err := os.MkdirTemp(r.work, "package-")
	if err != nil {
		return nil, err
	}
	for _, d := range format.dirs(t) {
		list = append(list, &files.Content{Type: files.TypeDir, Destination: "/" + d, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: 0o755, MTime: r.made}})
	}
	for i, f := range t.sorted() {
		c := &files.Content{Type: format.kind(f.name), Destination: "/" + f.name, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: os.FileMode(f.mode()), MTime: r.made}}
		if f.soft != "" {
			c.Type, c.Source = files.TypeSymlink, f.soft
		} else {
			c.Source = filepath.Join(dir, fmt.Sprint(i))
			if err := os.WriteFile(c.Source, f.data, 0o600); err != nil {
				return nil, err
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// dirs are the tree's directories that rpm removes with the package: those of the base system aren't. dpkg removes all that are empty.
func (f format) dirs(t tree) (list []string) {
	for _, d := range t.dirs() {
		if f.packager == "rpm" && (d+"/" == f.plugins || path.Base(d) == "netavark" || path.Base(d) == "swiftcni") {
			list = append(list, d)
		}
	}
	return list
}

// kind is how a package lists a file. Only rpm has documents and licences; nfpm leaves them out of others.
func (f format) kind(name string) string {
	switch {
	case f.packager != "rpm":
	case strings.HasPrefix(name, "usr/share/licenses/"):
		return files.TypeRPMLicence
	case strings.HasPrefix(name, "usr/share/doc/"), strings.HasPrefix(name, "usr/share/man/"):
		return files.TypeRPMDoc
	}
	return files.TypeFile
}

func (r *release) scripts() (s nfpm.Scripts, err error) {
	for name, script := range map[string]*string{"postinstall.sh": &s.PostInstall, "preremove.sh": &s.PreRemove, "postremove.sh": &s.PostRemove} {
		text, err := scripts.ReadFile("scripts/" + name)
		if err != nil {
			return s, err
		}
		*script = filepath.Join(r.work, name)
		if err := os.WriteFile(*script, text, 0o755); err != nil {
			return s, err
		}
	}
	return s, nil
}

// split parts a version of Go's, such as v0.9.0-rc.1+dirty, into 0.9.0 and rc.1.
func split(version string) (core, pre string) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "+")
	core, pre, _ = strings.Cut(version, "-")
	return core, pre
}

// tilde makes a version of dpkg and of rpm, in which a tilde comes before the end, and "-" parts the release off.
func tilde(core, pre string) string {
	if pre == "" {
		return core
	}
	return core + "~" + strings.ReplaceAll(pre, "-", ".")
}
