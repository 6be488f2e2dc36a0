// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
)

func TestTOMLStrings(t *testing.T) {
	const text = `# bin_dir = "/commented"
[plugins.cri.cni]
  bin_dir = "/a/b" # "not this"
  conf_dir = "/etc/cni/net.d"
[network]
cni_plugin_dirs = [
  "/one",
  # "/two",
  "/three", "/four",
]
plugin_dirs = ["/five"]
empty = []
`
	for key, want := range map[string][]string{
		"bin_dir": {"/a/b"}, "cni_plugin_dirs": {"/one", "/three", "/four"}, "plugin_dirs": {"/five"}, "empty": nil, "absent": nil, "dir": nil,
	} {
		if got := tomlStrings(text, key); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if got := tomlStrings(`cni_plugin_dirs = [ "/open",`, "cni_plugin_dirs"); got != nil {
		t.Errorf("a list that doesn't end: %q", got)
	}
}

// A runtime is told of where it finds others' plugins first, or doesn't look for ours at all, with
// what helps.
func TestUnreached(t *testing.T) {
	dir := t.TempDir()
	mine, theirs, none, conf := dir+"/mine", dir+"/theirs", dir+"/none", dir+"/config.toml"
	names := cni.PluginNames()
	in := installer{dir: mine, binary: ownBinary(t), names: names, out: new(strings.Builder)}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bridge", "ovs"} {
		if err := os.MkdirAll(theirs, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(theirs, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	configured := func(list string) seeker {
		if err := os.WriteFile(conf, []byte("dirs = ["+list+"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return seeker{"engine", true, []string{dir + "/*.toml"}, []string{"dirs"}, []string{mine}, ""}
	}
	for _, c := range []struct{ s, want string }{
		{`"` + mine + `", "` + theirs + `"`, ""},
		{`"` + theirs + `", "` + mine + `"`, "engine finds other bridge in " + theirs + ": name " + mine + " first in dirs of " + conf},
		{`"` + none + `"`, "engine looks only in " + none + ": name " + mine + " first in dirs of " + conf + ", or swiftctl install --force " + none},
		{``, ""},
	} {
		got := strings.Join(unreached([]seeker{configured(c.s)}, mine, names), "\n")
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("dirs = [%s]: %q, want %q…", c.s, got, c.want)
		}
	}
	absent := configured(`"` + theirs + `"`)
	absent.here = false
	if got := unreached([]seeker{absent}, mine, names); got != nil {
		t.Errorf("of a runtime that isn't here: %q", got)
	}
}

// Without DIR plugins go to one directory, unless podman would find others first.
func TestInstallDirs(t *testing.T) {
	own, theirs := t.TempDir(), t.TempDir()
	podman := seeker{name: "podman", here: true, dirs: []string{own, theirs, defaultPluginDir}, own: own}
	want := func(when string, dirs ...string) {
		t.Helper()
		if got := installDirs([]seeker{podman}, []string{"swiftcni-test"}); !slices.Equal(got, dirs) {
			t.Errorf("%s: %q, want %q", when, got, dirs)
		}
	}
	want("with nothing in the way", defaultPluginDir)
	if err := os.WriteFile(theirs+"/swiftcni-test", nil, 0o755); err != nil {
		t.Fatal(err)
	}
	want("with another's in the way", defaultPluginDir, own)
	podman.here = false
	want("without podman", defaultPluginDir)
}
