// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The source archive builds without a network, git, or a module cache, with flags of a distribution's own.
func TestSourceArchive(t *testing.T) {
	dir := filepath.Join(unpacked(t, "swiftcni-*-source.tar.gz"), "swiftcni-"+version[1:])
	if out := do(t, dir, nil, "internal/tool/version.sh"); out != version+"\n" {
		t.Errorf("version.sh says %s", out)
	}
	env := []string{"GOFLAGS=-mod=vendor -buildvcs=false", "GOPROXY=off", "GOTOOLCHAIN=local", "GOMODCACHE=" + t.TempDir(), "CGO_ENABLED=0"}
	bin := t.TempDir()
	args := []string{"build", "-buildmode=pie", "-trimpath", "-ldflags=-w", "-o", bin}
	do(t, dir, env, "go", append(args, "./cmd/swiftcni")...)
	do(t, filepath.Join(dir, "cmd/swiftctl"), env, "go", append(args, ".")...)
	do(t, filepath.Join(dir, "cmd/swiftcni-exporter"), env, "go", append(args, ".")...)
	if out := do(t, bin, nil, "./swiftctl", "version"); !strings.HasPrefix(out, "swiftctl "+version+"\n") {
		t.Errorf("swiftctl version: %s", out)
	}
	do(t, bin, []string{"CNI_COMMAND=VERSION"}, "./swiftcni")
}

// Another user makes the same files in another place, with another umask, and with nothing that was compiled before.
func TestReproducible(t *testing.T) {
	first := released(t)
	dir := t.TempDir()
	root, out := filepath.Join(dir, "another", "place"), filepath.Join(dir, "out")
	r := release{root: repository(t)}
	if err := r.copySource(root); err != nil {
		t.Fatal(err)
	}
	when, err := r.git("log", "-1", "--format=%ct")
	if err != nil {
		t.Fatal(err)
	}
	do(t, root, nil, "git", "init", "-q")
	do(t, root, nil, "git", "add", "-A")
	tool := filepath.Join(dir, "dist")
	do(t, "", nil, "go", "build", "-o", tool, ".")
	for _, d := range []string{filepath.Dir(dir), dir} {
		do(t, "", nil, "chmod", "a+rx", d)
	}
	do(t, "", nil, "mkdir", filepath.Join(dir, "home"))
	do(t, "", nil, "chown", "-R", "65534:65534", dir)
	paths := strings.Fields(do(t, "", nil, "go", "env", "GOPATH", "GOMODCACHE")) // the former has what the sums' database said
	env := []string{"SOURCE_DATE_EPOCH=" + strings.TrimSpace(when), "HOME=" + filepath.Join(dir, "home"), "GOCACHE=" + filepath.Join(dir, "home", "cache"),
		"GOPATH=" + paths[0], "GOMODCACHE=" + paths[1], "GOPROXY=off", "TMPDIR=" + filepath.Join(dir, "home"), "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8"}
	// It may read what the first user has in the cache of modules, and nothing more.
	do(t, root, env, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
		"sh", "-c", `umask 077; exec "$@"`, "sh", tool, "-root", root, "-out", out, "-version", version, "-arches", runtime.GOARCH)
	names := list(t, first)
	if got := list(t, out); !slices.Equal(got, names) {
		t.Fatalf("made %v, and then %v", names, got)
	}
	for _, name := range names {
		a, errA := os.ReadFile(filepath.Join(first, name))
		b, errB := os.ReadFile(filepath.Join(out, name))
		if errA != nil || errB != nil || string(a) != string(b) {
			t.Errorf("%s differs (%v, %v)", name, errA, errB)
		}
	}
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}
