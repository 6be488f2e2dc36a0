// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/semver"
	release "github.com/swiftcni/swiftcni/internal/tool/build"
)

// TestAbout: what's built in any way prints, without a verb, a first line that programs can read.
func TestAbout(t *testing.T) {
	dir := t.TempDir()
	if err := release.Go(io.Discard, ".", filepath.Join(dir, "swiftcni"), "."); err != nil {
		t.Fatal(err)
	}
	for _, plugin := range []string{"bridge", "firewall", "host-local"} {
		if err := os.Symlink("swiftcni", filepath.Join(dir, plugin)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{filepath.Join(dir, plugin), filepath.Join(oursDir(), plugin)} {
			cmd := exec.Command(path)
			cmd.Env = []string{}
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			line, _, _ := strings.Cut(stderr.String(), "\n")
			v, ok := strings.CutPrefix(line, "CNI "+plugin+" plugin ")
			if !ok || !semver.Valid(v) || !strings.HasPrefix(v, release.ReferenceVersion+"+swiftcni.") || stdout.String() != "" {
				t.Errorf("%s: stderr %q, stdout %q", path, line, stdout.String())
			}
		}
	}
}
