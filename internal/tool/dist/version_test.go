// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The version is the tag's, or Go's pseudo-version, and says so if files differ from the commit.
func TestVersion(t *testing.T) {
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		do(t, dir, []string{"GIT_AUTHOR_DATE=1700000000 +0900", "GIT_COMMITTER_DATE=1700000000 +0900", "GIT_CONFIG_GLOBAL=/dev/null"},
			"git", append([]string{"-c", "user.name=n", "-c", "user.email=e"}, args...)...)
	}
	script, err := os.ReadFile("../version.sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "internal/tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "internal/tool/version.sh"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "first")
	commit := "20231114221320-" + do(t, dir, nil, "git", "log", "-1", "--abbrev=12", "--format=%h")[:12]
	want := func(version string) {
		t.Helper()
		got := strings.TrimSpace(do(t, dir, nil, "internal/tool/version.sh"))
		if got != version || !semantic.MatchString(got) {
			t.Errorf("version %s, want %s", got, version)
		}
	}
	want("v0.0.0-" + commit)
	git("tag", "v0.9.0-rc.1")
	want("v0.9.0-rc.1")
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	want("v0.9.0-rc.1+dirty")
	git("add", ".")
	git("commit", "-q", "-m", "second")
	commit = "20231114221320-" + do(t, dir, nil, "git", "log", "-1", "--abbrev=12", "--format=%h")[:12]
	want("v0.9.0-rc.1.0." + commit)
	git("tag", "v0.9.0", "HEAD~")
	git("tag", "-d", "v0.9.0-rc.1")
	git("tag", "other")
	want("v0.9.1-0." + commit)
	git("tag", "v0.10.0")
	want("v0.10.0")
}

// What can't be a version makes no release.
func TestVersionsThatAreNone(t *testing.T) {
	for _, v := range []string{"", "0.9.0", "v0.9", "unknown", "v0.9.0/..", "v0.9.0 "} {
		if err := makeRelease("../../..", t.TempDir(), v); err == nil || !strings.Contains(err.Error(), "is no version") {
			t.Errorf("%q: %v", v, err)
		}
	}
}

// A version whose changes nobody wrote down makes no release either.
func TestVersionWithoutChanges(t *testing.T) {
	if err := makeRelease("../../..", t.TempDir(), "v99.0.0"); err == nil || !strings.Contains(err.Error(), "no section of 99.0.0") {
		t.Error(err)
	}
}
