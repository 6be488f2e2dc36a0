// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/files"
)

// rpmArch is rpm's name of this machine's architecture.
func rpmArch(t *testing.T) string {
	t.Helper()
	here, err := findTarget(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return here.rpm
}

// otherRPM makes another package, with one file.
func otherRPM(t *testing.T, info nfpm.Info, name, text string) string {
	t.Helper()
	source := filepath.Join(t.TempDir(), "file")
	write(t, source, text, 0o755)
	info.Arch, info.Platform, info.Description, info.Maintainer = rpmArch(t), "linux", "another", "n <n@example.com>"
	info.Contents = files.Contents{{Source: source, Destination: name, FileInfo: &files.ContentFileInfo{Mode: 0o755}}}
	packager, err := nfpm.Get("rpm")
	if err == nil {
		err = nfpm.PrepareForPackager(nfpm.WithDefaults(&info), "rpm")
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), info.Name+".rpm")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(packager.Package(&info, f), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// laterRPM makes the package of a later version, with fewer files.
func laterRPM(t *testing.T) string {
	t.Helper()
	r := release{version: "v0.9.1", work: t.TempDir(), out: t.TempDir(), made: time.Unix(1, 0), progress: io.Discard}
	later := tree{{name: "usr/libexec/cni/swiftcni", data: []byte("#!/bin/sh\n"), exec: true}, {name: "usr/libexec/cni/bridge", soft: "swiftcni"}}
	if err := r.pack(formats[1], rpmArch(t), later); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(r.out, "swiftcni-0.9.1-1."+rpmArch(t)+".rpm")
}

// TestRPMByRPM installs Fedora's package by rpm in place of the one with the CNI project's plugins, which has an epoch there, and on
// which podman's package depends. It's verified, upgraded, downgraded and erased.
func TestRPMByRPM(t *testing.T) {
	root := hostRoot(t)
	rpm := func(args ...string) (string, error) {
		out, err := exec.Command("rpm", append([]string{"--root", root, "--dbpath", "/var/lib/rpm", "--force-debian"}, args...)...).CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := rpm(args...)
		if err != nil {
			t.Fatalf("rpm %s: %v\n%s", args, err, out)
		}
		return out
	}
	refused := func(why string, args ...string) {
		t.Helper()
		if out, err := rpm(args...); err == nil || !strings.Contains(out, why) {
			t.Errorf("rpm %s: %v, %s; want an error about %s", args, err, out, why)
		}
	}
	reference := otherRPM(t, nfpm.Info{Name: "containernetworking-plugins", Epoch: "1", Version: "1.7.1", Release: "1",
		Overridables: nfpm.Overridables{Provides: []string{"containernetworking-plugins = 1:1.7.1-1", "container-network-stack = 1"}}}, "/usr/libexec/cni/samplelike", "another's")
	podman := otherRPM(t, nfpm.Info{Name: "podman", Version: "4.0", Release: "1", Overridables: nfpm.Overridables{
		Depends: []string{"container-network-stack", "containernetworking-plugins >= 1:1.0.0"}, Provides: []string{"/bin/sh"}}}, "/usr/bin/podman", "another's")
	ours := one(t, "*.rpm")
	must("--install", reference, podman)
	before := find(t, root)

	must("--upgrade", ours)
	if got := called(t, root); got != whenInstalled {
		t.Errorf("the installation called systemctl %s", got)
	}
	if all := must("--query", "--all", "--queryformat", "%{name}-%{version}\n"); strings.Contains(all, "containernetworking-plugins") || !strings.Contains(all, "swiftcni-"+version[1:]+"\n") {
		t.Errorf("the packages are %s", all)
	}
	if said := must("--verify", "swiftcni"); said != "" {
		t.Errorf("verify says %s", said)
	}
	do(t, root, []string{"CNI_COMMAND=VERSION"}, "usr/libexec/cni/bridge")
	if docs := must("--query", "--docfiles", "swiftcni"); !strings.Contains(docs, "/usr/share/man/man8/swiftctl.8.gz\n") || !strings.Contains(docs, "/usr/share/doc/swiftcni/README.md\n") {
		t.Errorf("the documents are %s", docs)
	}
	refused("container", "--install", reference)
	refused("container-network-stack", "--erase", "swiftcni")

	must("--upgrade", laterRPM(t))
	if got := called(t, root); got != whenInstalled {
		t.Errorf("the upgrade called systemctl %s", got)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/bin/swiftctl")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the earlier version's swiftctl: %v", err)
	}
	must("--upgrade", "--oldpackage", ours)
	if got := called(t, root); got != whenInstalled {
		t.Errorf("the downgrade called systemctl %s", got)
	}
	if said := must("--verify", "swiftcni"); said != "" {
		t.Errorf("verify says %s", said)
	}

	must("--erase", "--nodeps", "swiftcni")
	if got := called(t, root); got != whenRemoved {
		t.Errorf("the removal called systemctl %s", got)
	}
	must("--install", reference)
	after := find(t, root)
	for _, name := range after {
		if !slices.Contains(before, name) && !strings.HasPrefix(name, "var/lib/rpm/") {
			t.Errorf("%s is left", name)
		}
	}
	for _, name := range before {
		if !slices.Contains(after, name) && !strings.HasPrefix(name, "run/swiftcni") {
			t.Errorf("%s is gone", name)
		}
	}
}
