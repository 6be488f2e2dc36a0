// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// referencePrefix begins the names of directories of the reference's plugins.
const referencePrefix = "reference-"

// reference returns a plugin directory with the reference plugins that runtimes' usual networks
// name. They're built once, into the repository's cache, since a release doesn't change.
func reference(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(repository, ".cache/worlds", referencePrefix+build.ReferenceVersion))
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"install", "-trimpath", "-ldflags", "-s -w"}
	missing := false
	for _, plugin := range []string{"main/bridge", "main/loopback", "ipam/host-local", "meta/portmap", "meta/firewall", "meta/tuning", "meta/bandwidth"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(plugin))); err != nil {
			missing = true
		}
		args = append(args, "github.com/containernetworking/plugins/plugins/"+plugin+"@"+build.ReferenceVersion)
	}
	if !missing {
		return dir
	}
	cmd := exec.Command("go", args...)
	// With a version, go install heeds no go.mod around it, but it does heed GOFLAGS.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return dir
}
