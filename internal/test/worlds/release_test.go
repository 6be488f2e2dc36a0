// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/tool/build"
)

// podman reads a release's image, whose command installs the plugins without a capability and in a read-only root. They attach
// podman's next container, and are taken back.
func TestReleaseImage(t *testing.T) {
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	p := newPodman(t)
	out := filepath.Join(p.scratch, "release")
	// A version that isn't announced in the changelog yet, as of a commit between two releases.
	const version = "v0.9.0-pre.1"
	if err := build.Run(testWriter{t}, filepath.Join(root, "internal/tool/dist"), nil, "go", "run", ".",
		"-root", root, "-out", out, "-version", version, "-arches", runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	p.podman("load", "--quiet", "--input", filepath.Join(out, "swiftcni-image-"+version+".tar"))
	p.do("mkdir", "-p", "/run/node")
	p.do("sh", "-c", "echo the node\\'s >/run/node/bridge")
	call := func(args ...string) string {
		return p.podman(append([]string{"run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all", "--volume", "/run/node:/host",
			"localhost/swiftcni:" + version}, args...)...)
	}
	if said := call("--force", "/host"); !strings.Contains(said, "kept       /host/bridge.reference\n") {
		t.Errorf("it says %s", said)
	}
	p.use("/run/node")
	p.createNetwork("n", "10.66.0.0/24", "fd00:66::/64")
	p.run("c1", "--network", "n")
	p.remove("c1")
	if said := call("--uninstall", "/host"); !strings.Contains(said, "restored   /host/bridge\n") {
		t.Errorf("it says %s", said)
	}
	if names := p.do("ls", "/run/node"); names != "bridge" {
		t.Errorf("the node has %s", names)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(text []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(text)))
	return len(text), nil
}
