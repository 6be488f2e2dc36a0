// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	release "github.com/swiftcni/swiftcni/internal/tool/build"
)

// linkedPlugins is a plugin directory in which the plugins have other names as well, as operators
// make them, and the binary has one that's no plugin's.
func linkedPlugins(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, to := range map[string]string{
		"swiftcni": filepath.Join(oursDir(), "swiftcni"), "bridge": "swiftcni", "host-local": "swiftcni",
		"cnv-bridge": "bridge", "buildkit-cni-bridge": filepath.Join(dir, "cnv-bridge"), "cnv-host-local": "./host-local",
		"foreign": "swiftcni", "further": "foreign", "itself": "itself",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := os.ReadFile(filepath.Join(oursDir(), "swiftcni"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "copy"), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A program is the plugin that its name is, or that its name leads to as a link, for every verb. By
// no plugin's name it's none.
func TestNames(t *testing.T) {
	t.Parallel()
	plugins := linkedPlugins(t)
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{"bridge": "", "cnv-bridge": "", "buildkit-cni-bridge": "", "swiftcni": `unknown plugin "PROGRAM"`,
		"foreign": `"foreign" isn't a plugin's name`, "further": `"further" isn't a plugin's name`, "copy": `"copy" isn't a plugin's name`} {
		conf := strings.Replace(good, `"type":"bridge"`, `"type":"PROGRAM"`, 1)
		for _, verb := range []string{"VERSION", "ADD", "CHECK", "DEL"} {
			a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: []byte(conf), plugins: plugins, program: program})
			if err != nil {
				t.Fatal(err)
			}
			refused := want != "" && !(program == "swiftcni" && verb == "VERSION")
			if refused != (a.status != 0) || refused && !strings.Contains(string(a.stdout), strings.ReplaceAll(want, `"`, `\"`)) {
				t.Errorf("%s %s: %d %s", program, verb, a.status, a.stdout)
			}
		}
	}
}

// referencePlugins are the names of all that the reference's own script builds for Linux: each directory
// of three, but for the one with Windows' plugins. plugins/sample, which only shows how one is written,
// isn't among them.
func referencePlugins(t *testing.T) (list []string) {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", "github.com/containernetworking/plugins@"+release.ReferenceVersion).Output()
	if err != nil {
		t.Fatal(err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"main", "meta", "ipam"} {
		entries, err := os.ReadDir(filepath.Join(module.Dir, "plugins", kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && e.Name() != "windows" {
				list = append(list, e.Name())
			}
		}
	}
	slices.Sort(list)
	return list
}

// An installed directory has every name of the reference's and no other but the program's own.
func TestDirectoryIsWhole(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "plugins")
	if out, err := exec.Command(swiftctl(), "install", "--binary", filepath.Join(oursDir(), "swiftcni"), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != "swiftcni" {
			got = append(got, e.Name())
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s can't be executed: %v", e.Name(), err)
		}
	}
	if want := referencePlugins(t); !slices.Equal(got, want) || len(want) != 18 {
		t.Errorf("the directory has %d names, %q\nthe reference's has %d, %q", len(got), got, len(want), want)
	}
}

// A delegate that's swiftcni again is one of its IPAM plugins or refused at once: it would call
// itself without end.
func TestDelegateIsNotItself(t *testing.T) {
	t.Parallel()
	plugins := linkedPlugins(t)
	w := newWorld(t, t.TempDir())
	if err := w.netns("c1"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"cnv-host-local": "", "foreign": "is swiftcni itself", "further": "is swiftcni itself", "bridge": "is swiftcni itself",
		"swiftcni": "is swiftcni itself", "copy": "isn't a plugin's name", "itself": "failed to find plugin"} {
		conf := strings.Replace(good, `"type":"host-local"`, `"type":"`+name+`"`, 1)
		for _, verb := range []string{"ADD", "CHECK", "DEL"} {
			a, err := w.run(call{verb: verb, container: "c1", ifName: "eth0", conf: []byte(conf), plugins: plugins})
			if err != nil {
				t.Fatal(err)
			}
			if want != "" && verb == "ADD" && (a.status == 0 || !strings.Contains(string(a.stdout), want)) || want == "" && a.status != 0 {
				t.Errorf("%s %s: %d %s", name, verb, a.status, a.stdout)
			}
		}
		if want != "" {
			continue
		}
		if left, err := w.exec("", "sh", "-c", "ls /var/lib/cni/networks/net | grep ^10"); err == nil {
			t.Errorf("%s: lease left: %s", name, left)
		}
	}
}
