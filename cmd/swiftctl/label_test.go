// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"testing"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// TestInstallKeepsLabels: what ran by a plugin's name goes on to run with the label that it had, by
// links and by copies, and so does the file that is put back.
func TestInstallKeepsLabels(t *testing.T) {
	nstest.Full(t, "a label can't be set in a user namespace")
	const plugin, link, later = "system_u:object_r:bin_t:s0\x00", "system_u:object_r:usr_t:s0\x00", "system_u:object_r:container_runtime_exec_t:s0\x00"
	for _, copies := range []bool{false, true} {
		in := installer{dir: t.TempDir(), binary: ownBinary(t), names: cni.PluginNames(), copy: copies, force: true, out: io.Discard}
		label := func(name, text string) {
			t.Helper()
			if err := unix.Lsetxattr(in.path(name), labelName, []byte(text), 0); err != nil {
				t.Fatal(err)
			}
		}
		want := func(name, text string) {
			t.Helper()
			if got := string(labelOf(in.path(name))); got != text {
				t.Errorf("copies %v: %s has the label %q, want %q", copies, name, got, text)
			}
		}
		if err := os.WriteFile(in.path("bridge"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("bridge", in.path("ptp")); err != nil {
			t.Fatal(err)
		}
		label("bridge", plugin)
		label("ptp", link)
		if err := in.run(); err != nil {
			t.Fatal(err)
		}
		want(binaryName, plugin)
		want("bridge", plugin)
		want("bridge"+referenceSuffix, plugin)
		if copies {
			want("ptp", plugin)
			want("portmap", plugin)
		} else {
			want("ptp", link)
			want("portmap", "")
		}
		label(binaryName, later)
		in.binary = newerBinary(t)
		if err := in.run(); err != nil {
			t.Fatal(err)
		}
		want(binaryName, later)
		if err := in.undo(); err != nil {
			t.Fatal(err)
		}
		want("bridge", plugin)
		want("ptp", link)
	}
}
