// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// member unpacks the first compressed archive of a package, and returns where the next one begins.
func member(t *testing.T, text []byte) (archive, rest []byte) {
	t.Helper()
	r := bytes.NewReader(text)
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	if archive, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return archive, text[len(text)-r.Len():]
}

// TestAPK unpacks Alpine's package. Its sums are those that apk compares.
func TestAPK(t *testing.T) {
	text, err := os.ReadFile(one(t, "*.apk"))
	if err != nil {
		t.Fatal(err)
	}
	info, rest := member(t, text)
	data, end := member(t, rest)
	if len(end) != 0 {
		t.Errorf("%d bytes follow", len(end))
	}
	found, dirs := map[string]string{}, 0
	for r := tar.NewReader(bytes.NewReader(append(info, data...))); ; { // the parts make one archive
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeDir {
			dirs++
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = string(data) + h.Linkname
		if sum := h.PAXRecords["APK-TOOLS.checksum.SHA1"]; h.Name != ".PKGINFO" && sum != fmt.Sprintf("%x", sha1.Sum([]byte(found[h.Name]))) {
			t.Errorf("the sum of %s is %s", h.Name, sum)
		}
	}
	about := strings.Split(strings.TrimSuffix(found[".PKGINFO"], "\n"), "\n")
	for _, line := range about {
		if key, value, ok := strings.Cut(line, " = "); !ok || strings.Contains(key, " ") || value == "" {
			t.Errorf("there is a line %q", line)
		}
	}
	for _, line := range []string{"pkgname = swiftcni", "pkgver = " + version[1:] + "-r1", "provides = cni-plugins=1.10.0", "replaces = cni-plugins", fmt.Sprintf("datahash = %x", sha256.Sum256(rest))} {
		if !strings.Contains(found[".PKGINFO"], line+"\n") {
			t.Errorf("no %s in %s", line, found[".PKGINFO"])
		}
	}
	for _, name := range pluginNames() {
		if found["usr/libexec/cni/"+name] != "swiftcni" {
			t.Errorf("%s isn't a link to swiftcni", name)
		}
	}
	if found["usr/libexec/cni/swiftcni"] == "" || found["usr/bin/swiftctl"] == "" || found["usr/lib/systemd/system/swiftcni.socket"] != "" || dirs == 0 {
		t.Error("it has other files")
	}
}
