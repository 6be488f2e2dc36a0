// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sassoftware/go-rpmutils"
	"golang.org/x/sys/unix"
)

// hostRoot makes a file tree with a shell, and a systemctl that writes down how it's called.
func hostRoot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bin", "run/systemd/system", "run/swiftcni", "var/lib/dpkg/updates", "var/lib/dpkg/info", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	do(t, dir, nil, "cp", "/bin/busybox", "bin/")
	for _, name := range []string{"sh", "rm", "cat"} {
		do(t, dir, nil, "ln", "-s", "busybox", "bin/"+name)
	}
	write(t, filepath.Join(dir, "dev/null"), "", 0o666)
	write(t, filepath.Join(dir, "bin/systemctl"), "#!/bin/sh\necho \"$*\" >>/called\n", 0o755)
	write(t, filepath.Join(dir, "var/lib/dpkg/status"), "", 0o644)
	return dir
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// called is how a root's systemctl was called since the last time.
func called(t *testing.T, root string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "called"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(root, "called"))
	return string(text)
}

// What systemctl is asked for in a package's life.
const (
	whenInstalled = "daemon-reload\ntry-restart swiftcni.service swiftcni-dhcp.service swiftcni-exporter.service\n"
	whenRemoved   = "--no-reload disable swiftcni.socket swiftcni-dhcp.socket swiftcni-dhcp.service swiftcni-exporter.service\n" +
		"stop swiftcni.socket swiftcni.service swiftcni-dhcp.socket swiftcni-dhcp.service swiftcni-exporter.service\ndaemon-reload\n"
)

// TestDeb installs Debian's package in place of the one with the CNI project's plugins, upgrades it, and removes it.
func TestDeb(t *testing.T) {
	root := hostRoot(t)
	dpkg := func(args ...string) {
		do(t, "", nil, "dpkg", append([]string{"--root=" + root, "--log=/dev/null", "--force-unsafe-io"}, args...)...)
	}
	dpkg("--install", otherDeb(t, "containernetworking-plugins", "1.1.1", "usr/lib/cni/bridge", "usr/lib/cni/samplelike"))
	before := find(t, root)
	deb := one(t, "*.deb")
	dpkg("--install", deb)
	if got := called(t, root); got != whenInstalled {
		t.Errorf("the installation called systemctl %s", got)
	}
	want := []string{"usr/lib/cni/swiftcni", "usr/lib/netavark/swiftcni", "usr/bin/swiftctl", "usr/bin/swiftcni-exporter", "usr/lib/systemd/system/swiftcni.socket", "usr/share/man/man8/swiftctl.8.gz", "usr/share/doc/swiftcni/copyright"}
	for _, name := range pluginNames() {
		want = append(want, "usr/lib/cni/"+name)
	}
	names := find(t, root)
	for _, name := range want {
		if !slices.Contains(names, name) {
			t.Errorf("%s isn't there", name)
		}
	}
	if slices.Contains(names, "usr/lib/cni/samplelike") {
		t.Error("the other package's plugins are still there")
	}
	do(t, root, []string{"CNI_COMMAND=VERSION"}, "usr/lib/cni/bridge")
	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/swiftcni.service"))
	if err != nil || !strings.Contains(string(unit), "ExecStart=/usr/bin/swiftctl serve") {
		t.Errorf("the unit is %s, %v", unit, err)
	}
	if out := do(t, "", nil, "dpkg-deb", "--field", deb, "Version", "Provides", "Conflicts", "Replaces"); out != "Version: "+version[1:]+"-1\nProvides: containernetworking-plugins (= 1.10.0), container-network-stack (= 1)\nConflicts: containernetworking-plugins\nReplaces: containernetworking-plugins\n" {
		t.Error(out)
	}
	dpkg("--install", deb) // as an upgrade does
	if got := called(t, root); got != whenInstalled {
		t.Errorf("the upgrade called systemctl %s", got)
	}
	dpkg("--purge", "swiftcni")
	if got := called(t, root); !strings.HasPrefix(got, whenRemoved) {
		t.Errorf("the removal called systemctl %s", got)
	}
	for _, name := range find(t, root) {
		if !slices.Contains(before, name) && !strings.HasPrefix(name, "var/lib/dpkg/") {
			t.Errorf("%s is left", name)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "run/swiftcni")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/run/swiftcni is left, %v", err)
	}
}

// The scripts name every unit: one that can be enabled is disabled, and each ends.
func TestScriptsNameTheUnits(t *testing.T) {
	text, err := scripts.ReadFile("scripts/preremove.sh")
	if err != nil {
		t.Fatal(err)
	}
	line := func(word string) []string {
		_, rest, _ := strings.Cut(string(text), word+" ")
		rest, _, _ = strings.Cut(rest, "\n")
		return strings.Fields(rest)
	}
	units, err := readTree("../../../cmd/swiftctl/units", "*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if enabled := bytes.Contains(u.data, []byte("[Install]")); slices.Contains(line("disable"), u.name) != enabled || !slices.Contains(line("systemctl stop"), u.name) {
			t.Errorf("%s: disabled %v, stopped %v", u.name, line("disable"), line("systemctl stop"))
		}
	}
}

// otherDeb makes another package, with files.
func otherDeb(t *testing.T, name, version string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	arch := strings.TrimSpace(do(t, "", nil, "dpkg", "--print-architecture"))
	write(t, filepath.Join(dir, "DEBIAN/control"), "Package: "+name+"\nVersion: "+version+"\nArchitecture: "+arch+"\nMaintainer: n <n@example.com>\nDescription: another\n", 0o644)
	for _, f := range files {
		write(t, filepath.Join(dir, f), "another's", 0o755)
	}
	deb := filepath.Join(t.TempDir(), name+".deb")
	do(t, "", nil, "dpkg-deb", "--build", dir, deb)
	return deb
}

// find lists the files below a directory.
func find(t *testing.T, dir string) []string {
	t.Helper()
	return strings.Fields(do(t, dir, nil, "find", ".", "-not", "-type", "d", "-printf", "%P\n"))
}

// TestRPM unpacks the package, and runs its scripts as rpm would.
func TestRPM(t *testing.T) {
	f, err := os.Open(one(t, "*.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rpm, err := rpmutils.ReadRpm(f)
	if err != nil {
		t.Fatal(err)
	}
	root := hostRoot(t)
	if err := rpm.ExpandPayload(root); err != nil {
		t.Fatal(err)
	}
	files, err := rpm.Header.GetFiles() // the library leaves the modes to its caller
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if mode := f.Mode(); mode&unix.S_IFMT == unix.S_IFREG {
			if err := os.Chmod(filepath.Join(root, f.Name()), fs.FileMode(mode).Perm()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range append(pluginNames(), "swiftcni") {
		do(t, root, []string{"CNI_COMMAND=VERSION", "CNI_NETWORK="}, "usr/libexec/cni/"+name)
	}
	if text, err := os.ReadFile(filepath.Join(root, "usr/share/licenses/swiftcni/LICENSE")); err != nil || !bytes.Contains(text, []byte("Apache License")) {
		t.Errorf("licence %v", err)
	}
	for tag, want := range map[int]string{rpmutils.NAME: "swiftcni", rpmutils.VERSION: version[1:], rpmutils.PROVIDENAME: "containernetworking-plugins",
		rpmutils.PROVIDEVERSION: "1:1.10.0", rpmutils.CONFLICTNAME: "containernetworking-plugins", rpmutils.OBSOLETENAME: "containernetworking-plugins"} {
		if got, err := rpm.Header.GetStrings(tag); err != nil || !slices.Contains(got, want) {
			t.Errorf("tag %d is %q, want %q (%v)", tag, got, want, err)
		}
	}
	script := func(tag int, argument string) {
		t.Helper()
		text, err := rpm.Header.GetString(tag)
		if err != nil {
			t.Fatal(err)
		}
		do(t, "", nil, "chroot", root, "/bin/sh", "-c", text, "sh", argument)
	}
	for _, argument := range []string{"1", "2"} {
		script(rpmutils.POSTIN, argument)
		if got := called(t, root); got != whenInstalled {
			t.Errorf("the installation called systemctl %s", got)
		}
	}
	script(rpmutils.PREUN, "1") // the older one, when it's upgraded
	script(rpmutils.POSTUN, "1")
	if got := called(t, root); got != "" {
		t.Errorf("the upgrade called systemctl %s", got)
	}
	script(rpmutils.PREUN, "0")
	script(rpmutils.POSTUN, "0")
	if got := called(t, root); got != whenRemoved {
		t.Errorf("the removal called systemctl %s", got)
	}
}

// A package's version follows from Go's, in the order of the distribution.
func TestPackageVersions(t *testing.T) {
	for _, tt := range []struct{ version, debian, alpine string }{
		{"v0.9.0", "0.9.0", "0.9.0"},
		{"v0.9.0+dirty", "0.9.0", "0.9.0"},
		{"v0.9.0-rc.1", "0.9.0~rc.1", "0.9.0_rc1"},
		{"v0.9.0-rc.1.0.20261129092533-0ad6d490f4d0", "0.9.0~rc.1.0.20261129092533.0ad6d490f4d0", "0.9.0_rc1_p20261129092533"},
		{"v0.9.1-0.20261129092533-0ad6d490f4d0+dirty", "0.9.1~0.20261129092533.0ad6d490f4d0", "0.9.1_pre20261129092533"},
		{"v0.0.0-20261129092533-0ad6d490f4d0", "0.0.0~20261129092533.0ad6d490f4d0", "0.0.0_pre20261129092533"},
		{"v1.0.0-pre7.x", "1.0.0~pre7.x", "1.0.0_pre7"},
	} {
		core, pre := split(tt.version)
		if d, a := tilde(core, pre), alpine(core, pre); d != tt.debian || a != tt.alpine {
			t.Errorf("%s is %s and %s, want %s and %s", tt.version, d, a, tt.debian, tt.alpine)
		}
	}
}
