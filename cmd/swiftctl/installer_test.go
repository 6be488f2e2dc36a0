// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
)

// TestInstallWhilePluginsRun replaces the binary under a plugin that is being executed, with links
// and with copies, by a binary that differs.
func TestInstallWhilePluginsRun(t *testing.T) {
	for _, copies := range []bool{false, true} {
		dir := t.TempDir()
		in := installer{dir: dir, binary: ownBinary(t), names: cni.PluginNames(), copy: copies, out: io.Discard}
		if err := in.run(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(filepath.Join(dir, "host-local"))
		cmd.Env = []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/x", "CNI_IFNAME=eth0", "CNI_PATH=/x"}
		var out bytes.Buffer
		cmd.Stdout = &out
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in.binary = newerBinary(t)
		if err := in.run(); err != nil {
			t.Errorf("copies %v: install while a plugin runs: %v", copies, err)
		}
		for _, name := range append([]string{binaryName}, in.names...) {
			same, err := sameContent(in.binary, in.path(name))
			if err != nil || !same {
				t.Errorf("copies %v: %s isn't the new binary (%v)", copies, name, err)
			}
		}
		stdin.Close()
		if err := cmd.Wait(); err == nil || !bytes.Contains(out.Bytes(), []byte(`"code": 6`)) {
			t.Errorf("copies %v: the running plugin ended with %v: %s", copies, err, out.Bytes())
		}
	}
}

// TestInstallRepairsMode: a binary that's there but can't be run isn't the same.
func TestInstallRepairsMode(t *testing.T) {
	in := installer{dir: t.TempDir(), binary: ownBinary(t), names: cni.PluginNames(), out: io.Discard}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(in.path(binaryName), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(in.path("bridge"))
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestInstallClearsWhatAKilledCallLeft: its temporary file, and a link that leads to a binary that
// isn't there.
func TestInstallClearsWhatAKilledCallLeft(t *testing.T) {
	in := installer{dir: t.TempDir(), binary: ownBinary(t), names: cni.PluginNames(), out: io.Discard}
	for _, err := range []error{
		os.WriteFile(in.path(".swiftcni.new"), []byte("half"), 0o700),
		os.Symlink(binaryName, in.path("bridge")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := in.run(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(in.dir)
	if err != nil || len(entries) != 1+len(in.names) {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func ownBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// newerBinary is the test's own with a byte more, which no loader minds.
func newerBinary(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(ownBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "newer")
	if err := os.WriteFile(path, append(text, 0), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameContent(a, b string) (bool, error) {
	textA, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	textB, err := os.ReadFile(b)
	return bytes.Equal(textA, textB), err
}
