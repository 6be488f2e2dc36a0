// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
)

// apk writes Alpine's package: an archive that says what it is, and one of its files, each compressed by itself. nfpm writes such
// packages, too, but `apk audit` takes their links for changed, and apk knows descriptions of one line only.
func (r *release) apk(f format, arch string, t tree) error {
	core, pre := split(r.version)
	version := f.version(core, pre)
	files, err := r.installed(t)
	if err != nil {
		return err
	}
	data := gzipped(files)
	var b bytes.Buffer
	line := func(key string, value any) { fmt.Fprintf(&b, "%s = %v\n", key, value) }
	line("pkgname", "swiftcni")
	line("pkgver", version+"-r1")
	line("pkgdesc", summary)
	line("url", homepage)
	line("builddate", r.made.Unix())
	line("size", t.size())
	line("arch", arch)
	line("origin", "swiftcni")
	line("maintainer", maintainer)
	line("license", "Apache-2.0")
	for _, name := range f.replaces {
		line("replaces", name)
	}
	for _, name := range f.provided() {
		line("provides", name)
	}
	line("datahash", fmt.Sprintf("%x", sha256.Sum256(data)))
	info, err := r.packageInfo(b.Bytes())
	if err != nil {
		return err
	}
	return r.put(fmt.Sprintf(f.file, version, arch), append(gzipped(info), data...))
}

// packageInfo is an archive without an end: what follows continues it.
func (r *release) packageInfo(text []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: ".PKGINFO", Mode: 0o644, Size: int64(len(text)), ModTime: r.made, Uname: "root", Gname: "root"}); err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// installed is an archive with the sums by which apk tells whether a file was changed, or where a link leads.
func (r *release) installed(t tree) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, d := range t.dirs() {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: d + "/", Mode: 0o755, ModTime: r.made, Uname: "root", Gname: "root"}); err != nil {
			return nil, err
		}
	}
	for _, f := range t.sorted() {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode(), Size: int64(len(f.data)), ModTime: r.made, Uname: "root", Gname: "root"}
		sum := sha1.Sum(f.data)
		if f.soft != "" {
			h.Typeflag, h.Linkname, sum = tar.TypeSymlink, f.soft, sha1.Sum([]byte(f.soft))
		}
		h.PAXRecords = map[string]string{"APK-TOOLS.checksum.SHA1": fmt.Sprintf("%x", sum)}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var (
	preRelease = regexp.MustCompile(`^(alpha|beta|rc)\.?([0-9]*)(?:\.0\.([0-9]{14})-[0-9a-f]{12})?$`)
	pseudo     = regexp.MustCompile(`(?:^|\.)([0-9]{14})-[0-9a-f]{12}$`)
)

// alpine makes a version of apk-tools, which has few words for what comes before a release (apk-package(5)).
func alpine(core, pre string) string {
	if pre == "" {
		return core
	}
	if m := preRelease.FindStringSubmatch(pre); m != nil {
		version := core + "_" + m[1] + m[2]
		if m[3] != "" {
			version += "_p" + m[3]
		}
		return version
	}
	if m := pseudo.FindStringSubmatch(pre); m != nil {
		return core + "_pre" + m[1]
	}
	return core + "_pre" + cmp.Or(strings.Join(regexp.MustCompile(`[0-9]+`).FindAllString(pre, 1), ""), "0")
}
