// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// TestNewcomer takes the README's steps on a Debian 12 that has runc, and no Go: from the release's archive to a container that
// reaches the outside. How long that takes is told, and not judged.
func TestNewcomer(t *testing.T) {
	m := newMachine(t, "bookworm")
	m.apt("purge", "containernetworking-plugins")
	archives, err := filepath.Glob(filepath.Join(released(t, candidate), "swiftcni-linux-*.tgz*"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(m.scratch, "machine")
	for _, file := range archives {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rootfs(t, filepath.Join(dir, "bundle/rootfs"))
	begun := time.Now()
	said := m.sh(`cd "$1"
sha256sum --check swiftcni-linux-*.tgz.sha256
tar -C /usr/local -xzf swiftcni-linux-*.tgz
swiftctl install`, dir)
	installed := time.Since(begun)
	t.Logf("swiftctl install says\n%s", said)
	m.put("/etc/cni/net.d/mynet.conf", bundleNetwork)
	m.sh(`cd "$1"
runc spec && sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sleep", "1000"/; s/"CAP_KILL"/"CAP_KILL", "CAP_NET_RAW"/' config.json
runc run -d --pid-file pid c1 </dev/null >log 2>&1 || { cat log >&2; exit 1; }
swiftctl attach --id c1 --pid "$(cat pid)" /etc/cni/net.d/mynet.conf`, filepath.Join(dir, "bundle"))
	m.in("runc", "exec", "c1", "ping", "-c1", "-W60", box.RouterIPv4)
	t.Logf("installed after %v, attached after %v", installed, time.Since(begun))
	m.sh(`swiftctl detach --id c1 /etc/cni/net.d/mynet.conf && runc delete -f c1`)
	m.sh("swiftctl install --uninstall")
	if left := m.sh("find /usr/lib/cni /usr/libexec/cni /opt/cni /usr/local/libexec/cni /usr/local/lib/cni -mindepth 1 2>/dev/null || true"); left != "" {
		t.Errorf("--uninstall leaves\n%s", left)
	}
}
