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

// An rpmRoot is a root in which rpm works.
type rpmRoot struct {
	t    *testing.T
	root string
}

func (r *rpmRoot) rpm(args ...string) (string, error) {
	out, err := exec.Command("rpm", append([]string{"--root", r.root, "--dbpath", "/var/lib/rpm", "--force-debian"}, args...)...).CombinedOutput()
	return string(out), err
}

func (r *rpmRoot) must(args ...string) string {
	r.t.Helper()
	out, err := r.rpm(args...)
	if err != nil {
		r.t.Fatalf("rpm %s: %v\n%s", args, err, out)
	}
	return out
}

func (r *rpmRoot) refused(why string, args ...string) {
	r.t.Helper()
	if out, err := r.rpm(args...); err == nil || !strings.Contains(out, why) {
		r.t.Errorf("rpm %s: %v, %s; want an error about %s", args, err, out, why)
	}
}

// verify has rpm compare the files with the package.
func (r *rpmRoot) verify() {
	r.t.Helper()
	if said := r.must("--verify", "swiftcni"); said != "" {
		r.t.Errorf("verify says %s", said)
	}
}

func (r *rpmRoot) wantCalled(by, want string) {
	r.t.Helper()
	if got := called(r.t, r.root); got != want {
		r.t.Errorf("the %s called systemctl %s", by, got)
	}
}

// wantFiles wants those that were there before, but for rpm's own.
func (r *rpmRoot) wantFiles(before []string) {
	r.t.Helper()
	after := find(r.t, r.root)
	for _, name := range after {
		if !slices.Contains(before, name) && !strings.HasPrefix(name, "var/lib/rpm/") {
			r.t.Errorf("%s is left", name)
		}
	}
	for _, name := range before {
		if !slices.Contains(after, name) && !strings.HasPrefix(name, "run/swiftcni") {
			r.t.Errorf("%s is gone", name)
		}
	}
}

// TestRPMByRPM installs Fedora's package by rpm in place of the one with the CNI project's plugins, which has an epoch there, and on
// which podman's package depends. It's verified, upgraded, downgraded and erased.
func TestRPMByRPM(t *testing.T) {
	r := &rpmRoot{t, hostRoot(t)}
	reference := otherRPM(t, nfpm.Info{Name: "containernetworking-plugins", Epoch: "1", Version: "1.7.1", Release: "1",
		Overridables: nfpm.Overridables{Provides: []string{"containernetworking-plugins = 1:1.7.1-1", "container-network-stack = 1"}}}, "/usr/libexec/cni/samplelike", "another's")
	podman := otherRPM(t, nfpm.Info{Name: "podman", Version: "4.0", Release: "1", Overridables: nfpm.Overridables{
		Depends: []string{"container-network-stack", "containernetworking-plugins >= 1:1.0.0"}, Provides: []string{"/bin/sh"}}}, "/usr/bin/podman", "another's")
	ours := one(t, "*.rpm")
	r.must("--install", reference, podman)
	before := find(t, r.root)

	r.must("--upgrade", ours)
	r.wantCalled("installation", whenInstalled)
	if all := r.must("--query", "--all", "--queryformat", "%{name}-%{version}\n"); strings.Contains(all, "containernetworking-plugins") || !strings.Contains(all, "swiftcni-"+version[1:]+"\n") {
		t.Errorf("the packages are %s", all)
	}
	r.verify()
	do(t, r.root, []string{"CNI_COMMAND=VERSION"}, "usr/libexec/cni/bridge")
	if docs := r.must("--query", "--docfiles", "swiftcni"); !strings.Contains(docs, "/usr/share/man/man8/swiftctl.8.gz\n") || !strings.Contains(docs, "/usr/share/doc/swiftcni/README.md\n") {
		t.Errorf("the documents are %s", docs)
	}
	r.refused("container", "--install", reference)
	r.refused("container-network-stack", "--erase", "swiftcni")

	r.must("--upgrade", laterRPM(t))
	r.wantCalled("upgrade", whenInstalled)
	if _, err := os.Stat(filepath.Join(r.root, "usr/bin/swiftctl")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the earlier version's swiftctl: %v", err)
	}
	r.must("--upgrade", "--oldpackage", ours)
	r.wantCalled("downgrade", whenInstalled)
	r.verify()

	r.must("--erase", "--nodeps", "swiftcni")
	r.wantCalled("removal", whenRemoved)
	r.must("--install", reference)
	r.wantFiles(before)
}
