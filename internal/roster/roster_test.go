// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// links makes symbolic links in a directory of their own, which is the root of absolute ones.
func links(t *testing.T, to map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, target := range to {
		if target[0] == '/' {
			target = dir + target
		}
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A path's own name comes first, and then those that its links lead to, of which no file need
// exist. The binary's name ends the search, since it's no plugin's.
func TestNameByLinks(t *testing.T) {
	dir := links(t, map[string]string{
		"bridge":            "swiftcni",
		"swiftcni":          "ptp",
		"portmap":           "firewall",
		"cnv-bridge":        "bridge",
		"absolute":          "/cnv-bridge",
		"dotted":            "./deeper/../host-local",
		"version-1":         "swiftcni",
		"loop":              "pool",
		"pool":              "loop",
		"dangling":          "nothing",
		"dangling-loopback": "nowhere/loopback",
	})
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"bridge": "bridge", "cnv-bridge": "bridge", "absolute": "bridge", "dotted": "host-local", "portmap": "portmap",
		"dangling-loopback": "loopback", "swiftcni": "swiftcni",
		"version-1": "version-1", "loop": "loop", "pool": "pool", "dangling": "dangling", "file": "file", "nothing": "nothing",
	} {
		if got := Name(filepath.Join(dir, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	t.Chdir(dir)
	for path, want := range map[string]string{"cnv-bridge": "bridge", "./cnv-bridge": "bridge", "bridge": "bridge", "": "."} {
		if got := Name(path); got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
}

// As many links are followed as by the kernel.
func TestNameByManyLinks(t *testing.T) {
	to := map[string]string{"link1": "tuning"}
	for i := range maxLinks {
		to["link"+strconv.Itoa(i+2)] = "link" + strconv.Itoa(i+1)
	}
	dir := links(t, to)
	if err := os.WriteFile(filepath.Join(dir, "tuning"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name := range to {
		want := "tuning"
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			want = name
		}
		if got := Name(filepath.Join(dir, name)); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// Callers may change the list that they got.
func TestNamesAreACopy(t *testing.T) {
	list := Names()
	list[0] = "changed"
	if Names()[0] == "changed" || Has("changed") {
		t.Errorf("names are now %v", Names())
	}
}

// The binary's name isn't a plugin's, nor is one in other letters.
func TestHas(t *testing.T) {
	for name, want := range map[string]bool{Program: false, "": false, "Bridge": false, "bridge ": false, "sbr": true} {
		if Has(name) != want {
			t.Errorf("%q: %v, want %v", name, !want, want)
		}
	}
}
