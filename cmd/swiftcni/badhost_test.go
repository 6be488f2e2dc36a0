// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBadHost: on a host that lacks something an ADD fails, says what, and leaves nothing; STATUS
// knows it beforehand where it can.
func TestBadHost(t *testing.T) {
	const store = "/var/lib/cni/networks"
	tmpfs := func(flags uintptr, options string) func() error {
		return func() error {
			if err := os.MkdirAll(store, 0o755); err != nil {
				return err
			}
			return unix.Mount("tmpfs", store, "tmpfs", flags, options)
		}
	}
	for _, c := range []struct {
		name    string
		prepare func() error
		msg     string
		status  int // STATUS's code; 0 is success
	}{
		{"state directory is read-only", tmpfs(unix.MS_RDONLY, ""), "read-only file system", 50},
		{"state directory has no inodes", tmpfs(0, "nr_inodes=3"), "no space left on device", 0},
		{"state directory has no blocks", func() error {
			if err := tmpfs(0, "size=4k")(); err != nil {
				return err
			}
			return os.WriteFile(store+"/full", make([]byte, 4096), 0o644)
		}, "no space left on device", 0},
		{"ip_forward can't be written", func() error { return readOnlyFile("/proc/sys/net/ipv4/ip_forward") }, "failed to enable forwarding", 0},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, t.TempDir())
			if err := w.netns("c1"); err != nil {
				t.Fatal(err)
			}
			if err := w.do("", c.prepare); err != nil {
				t.Fatal(err)
			}
			status, err := w.run(call{verb: "STATUS", conf: []byte(good)})
			if err != nil {
				t.Fatal(err)
			}
			if f, _ := status.failure(); f.Code != c.status {
				t.Errorf("STATUS: %d %s, want code %d", status.status, status.stdout, c.status)
			}
			row := badInput{code: 999, msg: c.msg}
			for range 2 {
				row.verify(t, row.call(t, w))
				if err := w.noTrace(); err != nil {
					t.Error(err)
				}
			}
			w.finish()
		})
	}
}

// readOnlyFile puts a file that says 0 and takes nothing over another.
func readOnlyFile(path string) error {
	const file = "/run/zero"
	if err := os.WriteFile(file, []byte("0\n"), 0o444); err != nil {
		return err
	}
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", path, err)
	}
	return unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}
