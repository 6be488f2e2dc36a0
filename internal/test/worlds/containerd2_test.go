// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// containerd2Version is the release of containerd that's built from source, since Debian 12 has
// none of its kind.
const containerd2Version = "v2.4.2"

// cached returns a directory of the repository's cache that has programs, which build puts there if
// they're missing.
func cached(t *testing.T, name string, programs []string, build func(dir string) *exec.Cmd) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(repository, ".cache/worlds", name))
	if err != nil {
		t.Fatal(err)
	}
	missing := func(program string) bool {
		_, err := os.Stat(filepath.Join(dir, program))
		return err != nil
	}
	if slices.ContainsFunc(programs, missing) {
		if out, err := build(dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir
}

func containerd2(t *testing.T) (programs string) {
	return cached(t, "containerd-"+containerd2Version, []string{"containerd", "containerd-shim-runc-v2", "ctr"}, func(dir string) *exec.Cmd {
		args := []string{"install", "-trimpath", "-ldflags", "-s -w"}
		for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr"} {
			args = append(args, "github.com/containerd/containerd/v2/cmd/"+program+"@"+containerd2Version)
		}
		cmd := exec.Command("go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN="+dir)
		return cmd
	})
}

func newContainerd2(t *testing.T) *containerd {
	t.Helper()
	c := newContainerd(t, containerd2(t))
	// Its latest version of a configuration is the specification's.
	c.write("/etc/cni/net.d/10-pods.conflist", strings.Replace(podNetwork, "1.0.0", "1.1.0", 1))
	return c
}

func TestContainerd2(t *testing.T) { lifeOfAPod(newContainerd2(t)) }

func TestContainerd2ByResident(t *testing.T) { podsByResident(newContainerd2(t)) }
