// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package worlds_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/box"
)

// runscVersion is of gvisor's branch go, which has no releases.
const runscVersion = "v0.0.0-20260905035102-160fafc42237"

func runsc(t *testing.T) string {
	t.Helper()
	dir := cached(t, "runsc-160fafc42237", []string{"runsc"}, func(dir string) *exec.Cmd {
		cmd := exec.Command("go", "install", "-trimpath", "-ldflags", "-s -w", "gvisor.dev/gvisor/runsc@"+runscVersion)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN="+dir)
		return cmd
	})
	return filepath.Join(dir, "runsc")
}

// gVisor has a stack of its own, which takes the addresses and routes of the namespace's link. So CHECK
// finds a link without them. DEL must leave nothing all the same.
func TestGVisor(t *testing.T) {
	runsc := runsc(t)
	c := newCnitool(t)
	for i, addrs := range [2][2]string{{"10.7.0.2", "fd00:7::2"}, {"10.7.0.3", "fd00:7::3"}} {
		c.must("add", "c1")
		bundle := filepath.Join(c.scratch, "bundle")
		if i == 0 {
			rootfs(t, filepath.Join(bundle, "rootfs"))
			writeBundle(t, bundle, "/run/netns/c1")
		}
		gvisor := func(args ...string) []string {
			return append([]string{runsc, "--platform=systrap", "--ignore-cgroups", "--net-raw", "--root", "/run/runsc"}, args...)
		}
		if _, err := c.Run("sh", append([]string{"-c", detached, c.scratch + "/stderr"}, gvisor("run", "--detach", "--bundle", bundle, "g1")...)...); err != nil {
			t.Fatal(err)
		}
		c.wantPage(theHost, addrs[0], "80")
		c.wantPage(theHost, addrs[1], "80")
		c.wantPage(theOutside, box.BoxIPv4, "8080")
		c.do(runsc, gvisor("exec", "g1", "ping", "-c1", "-W60", box.RouterIPv4)[1:]...)
		if out, err := c.in("c1", "ip -o address show dev eth0 scope global"); err != nil || strings.Contains(out, addrs[0]) {
			t.Errorf("gVisor has left the address on the link: %v\n%s", err, out)
		}
		c.refused("check", "c1", addrs[0])
		if i == 0 {
			c.do(runsc, gvisor("delete", "--force", "g1")[1:]...)
		} // else the container runs still
		c.must("del", "c1")
		c.wantNothing("detached")
		c.wantNoRule("detached", addrs[:]...)
		c.wantNoPage(theOutside, box.BoxIPv4, "8080")
		c.must("del", "c1")
	}
}

// writeBundle makes the configuration of a web server in a namespace.
func writeBundle(t *testing.T, bundle, netns string) {
	t.Helper()
	type m = map[string]any
	list := []string{"CAP_NET_RAW", "CAP_NET_BIND_SERVICE"}
	text, err := json.Marshal(m{
		"ociVersion": "1.0.0",
		"process": m{
			"user": m{"uid": 0, "gid": 0}, "cwd": "/", "env": []string{"PATH=/bin"}, "args": []string{"httpd", "-f", "-p", "80", "-h", "/www"},
			"capabilities": m{"bounding": list, "effective": list, "permitted": list},
		},
		"root":   m{"path": "rootfs", "readonly": true},
		"mounts": []m{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux": m{"namespaces": []m{
			{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "network", "path": netns},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}
