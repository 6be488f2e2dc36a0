// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// unpacked unpacks an archive of the release.
func unpacked(t *testing.T, pattern string, members ...string) string {
	t.Helper()
	dir := t.TempDir()
	do(t, dir, nil, "tar", append([]string{"-xzf", one(t, pattern)}, members...)...)
	return dir
}

const pluginsArchive = "cni-plugins-linux-*-" + version + ".tgz"

// The archive has what the CNI project's has at the top, and nothing else: plugins, LICENSE, README.md.
func TestPluginsArchive(t *testing.T) {
	dir := unpacked(t, pluginsArchive)
	names := append(pluginNames(), "LICENSE", "README.md", licensesName)
	slices.Sort(names)
	if got := list(t, dir); !slices.Equal(got, names) {
		t.Errorf("the archive has %v, want %v", got, names)
	}
	for _, name := range pluginNames() {
		out := do(t, dir, []string{"CNI_COMMAND=VERSION"}, "./"+name)
		if !strings.Contains(out, `"supportedVersions"`) {
			t.Errorf("%s: VERSION answers %s", name, out)
		}
		if out := do(t, dir, nil, "./"+name); !strings.HasPrefix(out, "CNI "+name+" plugin v1.10.0+swiftcni."+version[1:]+"\n") {
			t.Errorf("%s says of itself %s", name, out)
		}
	}
	attach(t, dir)
}

// attach has a container attached and detached by unpacked plugins.
func attach(t *testing.T, dir string) {
	t.Helper()
	b, err := box.Start(box.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	netns, err := b.NewNetNS("c1")
	if err != nil {
		t.Fatal(err)
	}
	const conf = `{"cniVersion":"1.0.0","name":"n","type":"bridge","isGateway":true,"ipam":{"type":"host-local","subnet":"10.9.0.0/24"}}`
	for _, verb := range []string{"ADD", "DEL"} {
		cmd := b.Command("env", "CNI_COMMAND="+verb, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0", "CNI_NETNS="+netns, "CNI_PATH="+dir, filepath.Join(dir, "bridge"))
		cmd.Stdin = strings.NewReader(conf)
		if out, err := cmd.CombinedOutput(); err != nil || verb == "ADD" && !strings.Contains(string(out), "10.9.0.2/24") {
			t.Fatalf("%s: %v\n%s", verb, err, out)
		}
		out, err := b.Run("ip", "-n", "c1", "-br", "address", "show", "dev", "eth0")
		if (err == nil) != (verb == "ADD") {
			t.Errorf("after %s: %v, %s", verb, err, out)
		}
	}
}

// Some unpack a few plugins by name, or remove all regular files but those: kind does.
func TestSomePluginsOfTheArchive(t *testing.T) {
	some := []string{"host-local", "loopback", "portmap", "ptp"}
	dir := unpacked(t, pluginsArchive, "./host-local", "./loopback", "./portmap", "./ptp")
	if got := list(t, dir); !slices.Equal(got, some) {
		t.Errorf("unpacked %v", got)
	}
	whole := unpacked(t, pluginsArchive)
	do(t, whole, nil, "find", ".", "-type", "f", "-not", "(", "-iname", "host-local", "-o", "-iname", "ptp", "-o", "-iname", "portmap", "-o", "-iname", "loopback", ")", "-delete")
	if got := list(t, whole); !slices.Equal(got, some) {
		t.Errorf("kept %v", got)
	}
	for _, d := range []string{dir, whole} {
		do(t, d, []string{"CNI_COMMAND=VERSION"}, "./ptp")
	}
}

// A program of the full archive installs the plugins that came with it, and names the version.
func TestFullArchive(t *testing.T) {
	dir := unpacked(t, "swiftcni-linux-*-"+version+".tgz")
	if out := do(t, dir, nil, "bin/swiftctl", "version"); !strings.HasPrefix(out, "swiftctl "+version+"\n") {
		t.Errorf("swiftctl version: %s", out)
	}
	if out := do(t, dir, nil, "bin/swiftctl", "try"); !strings.Contains(out, "\nAll of it works") {
		t.Errorf("swiftctl try: %s", out)
	}
	do(t, dir, nil, "bin/swiftctl", "install", "plugins")
	do(t, dir, []string{"CNI_COMMAND=VERSION"}, "plugins/bridge")
	page, err := os.ReadFile(filepath.Join(dir, "share/man/man8/swiftctl.8"))
	if err != nil || !strings.Contains(string(page), `"swiftcni `+version[1:]+`"`) {
		t.Errorf("the manual page doesn't name the version, %v", err)
	}
	for _, name := range []string{"lib/systemd/system/swiftcni.socket", "lib/systemd/system/swiftcni-exporter.service", "share/man/man5/swiftcni.5", "share/doc/swiftcni/LICENSE", "bin/swiftcni-exporter"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// The sums are as sha256sum and sha512sum read them.
func TestSums(t *testing.T) {
	dir := released(t)
	for _, sum := range []string{"sha256", "sha512"} {
		sums, err := filepath.Glob(filepath.Join(dir, "*."+sum))
		if err != nil || len(sums) < 3 {
			t.Fatalf("%v, %v", sums, err)
		}
		do(t, dir, nil, sum+"sum", append([]string{"--check", "--strict"}, sums...)...)
	}
}

// Every module that a program links has its licence in the archive, and so has Go.
func TestLicenses(t *testing.T) {
	dir := unpacked(t, "swiftcni-linux-*-"+version+".tgz")
	text, err := os.ReadFile(filepath.Join(dir, "share/doc/swiftcni", licensesName))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range programNames {
		info, err := buildinfo.ReadFile(filepath.Join(dir, "bin", name))
		if err != nil {
			t.Fatal(err)
		}
		deps := foreign(info.Deps)
		if len(deps) == 0 {
			t.Errorf("%s has no modules", name)
		}
		for _, dep := range deps {
			head := strings.ToUpper("==== " + dep.Path + " " + dep.Version + ": ")
			if all := strings.ToUpper(string(text)); !strings.Contains(all, head+"LICENSE") && !strings.Contains(all, head+"COPYING") {
				t.Errorf("%s: no licence of %s %s", name, dep.Path, dep.Version)
			}
		}
	}
	if !strings.HasPrefix(string(text), "==== Go, its runtime and standard library: LICENSE ====\n\nCopyright") {
		t.Error("no licence of Go")
	}
}

func list(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
