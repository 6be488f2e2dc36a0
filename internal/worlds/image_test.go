// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"os"
	"path/filepath"
	"testing"
)

// page is what the containers' web server shows.
const page = "a page from inside"

// rootfs makes a container's file tree of busybox alone.
func rootfs(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"bin", "proc", "sys", "dev", "etc", "tmp", "www"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "ping", "ip", "cat", "httpd", "nc"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "www/index.html"), []byte(page+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}
