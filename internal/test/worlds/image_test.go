// SPDX-License-Identifier: Apache-2.0

package worlds_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// page is what the containers' web server shows.
const page = "a page from inside"

// rootfs makes a container's file tree of busybox alone.
func rootfs(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"bin", "proc", "sys", "dev", "etc", "tmp", "www/cgi-bin"} {
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
	const who = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n%s' \"$REMOTE_ADDR\"\n" // the server's client, as "[::ffff:192.0.2.1]"
	if err := os.WriteFile(filepath.Join(dir, "www/cgi-bin/who"), []byte(who), 0o755); err != nil {
		t.Fatal(err)
	}
}

// archive packs rootfs into an OCI archive, as a registry would have given it, with a name and a
// command.
func archive(t *testing.T, file, name string, command ...string) {
	t.Helper()
	dir := t.TempDir()
	rootfs(t, filepath.Join(dir, "rootfs"))
	layer, err := exec.Command("tar", "-C", filepath.Join(dir, "rootfs"), "--numeric-owner", "--owner=0", "--group=0", "-c", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	type object map[string]any
	blobs := filepath.Join(dir, "image/blobs/sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const media = "application/vnd.oci.image."
	put := func(kind string, data []byte) object {
		hash := fmt.Sprintf("%x", sha256.Sum256(data))
		write(filepath.Join(blobs, hash), data)
		return object{"mediaType": media + kind, "digest": "sha256:" + hash, "size": len(data)}
	}
	layers := put("layer.v1.tar", layer)
	config := put("config.v1+json", text(object{"architecture": runtime.GOARCH, "os": "linux",
		"config": object{"Entrypoint": command, "Env": []string{"PATH=/bin"}},
		"rootfs": object{"type": "layers", "diff_ids": []any{layers["digest"]}}}))
	manifest := put("manifest.v1+json", text(object{"schemaVersion": 2, "mediaType": media + "manifest.v1+json", "config": config, "layers": []object{layers}}))
	manifest["annotations"] = object{"io.containerd.image.name": name}
	write(filepath.Join(dir, "image/index.json"), text(object{"schemaVersion": 2, "manifests": []object{manifest}}))
	write(filepath.Join(dir, "image/oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
	if out, err := exec.Command("tar", "-C", filepath.Join(dir, "image"), "-cf", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
