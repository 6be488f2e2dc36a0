// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

const buildkitVersion = "v0.34.2"

// buildBuildkit builds it in a module of its own, since its module excludes versions of others,
// which go install refuses.
func buildBuildkit(t *testing.T) (programs string) {
	t.Helper()
	const script = `set -e
cd "$1"
printf 'module scratch\n\ngo 1.26\n' >go.mod
export GOFLAGS=-mod=mod CGO_ENABLED=0
go get github.com/moby/buildkit@"$0"
nice go build -trimpath -ldflags "-s -w" -o "$2/" github.com/moby/buildkit/cmd/buildkitd github.com/moby/buildkit/cmd/buildctl`
	return cached(t, "buildkit-"+buildkitVersion, []string{"buildkitd", "buildctl"}, func(dir string) *exec.Cmd {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return exec.Command("sh", "-c", script, buildkitVersion, t.TempDir(), dir)
	})
}

const buildNetwork = `{
  "cniVersion": "1.0.0", "name": "builds",
  "plugins": [
    { "type": "loopback" },
    { "type": "bridge", "bridge": "build0", "isDefaultGateway": true, "ipMasq": true,
      "ipam": { "type": "host-local", "ranges": [ [ { "subnet": "10.87.0.0/24" } ] ] } },
    { "type": "firewall" }
  ]
}`

// A builder that keeps namespaces attached, ready for the steps of images.
func TestBuildkitPool(t *testing.T) {
	programs := buildBuildkit(t)
	h := newHost(t)
	h.write("/etc/cni/net.d/builds.conflist", buildNetwork)
	h.write("/run/buildkitd.toml", `
[worker.containerd]
  enabled = false
[worker.oci]
  networkMode = "cni"
  cniConfigPath = "/etc/cni/net.d/builds.conflist"
  cniBinaryPath = "/opt/cni/bin"
  cniPoolSize = 2
`)
	address := "unix://" + h.scratch + "/buildkit.sock"
	end := h.daemon("sh", "-c", `echo $$ >/run/buildkitd.pid; exec "$0" "$@"`, programs+"/buildkitd",
		"--config", "/run/buildkitd.toml", "--addr", address, "--root", h.scratch+"/buildkit")
	t.Cleanup(func() {
		end()
		removeCgroups("buildkit")
	})
	eventually(t, "the pool to be attached", func() bool { return len(h.leases()) == 2 && len(h.ports()) == 2 })

	context := filepath.Join(h.scratch, "context")
	rootfs(t, filepath.Join(context, "rootfs"))
	dockerfile := "FROM scratch\nCOPY rootfs /\nRUN ping -c1 -W60 " + box.RouterIPv4 + " && ping -c1 -W60 127.0.0.1\n"
	if err := os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	h.do(programs+"/buildctl", "--addr", address, "build", "--frontend", "dockerfile.v0",
		"--local", "context="+context, "--local", "dockerfile="+context)
	t.Logf("built in %v", time.Since(begun).Round(time.Millisecond))

	h.do("sh", "-c", "kill $(cat /run/buildkitd.pid)")
	eventually(t, "the pool to be detached", func() bool { return len(h.leases()) == 0 && len(h.ports()) == 0 })
	eventually(t, "libcni to forget", func() bool { return len(h.names("/var/lib/cni/results", "*")) == 0 })
	h.wantNothing("ended")
}
