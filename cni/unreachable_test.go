// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"golang.org/x/sys/unix"
)

// driverless makes a device without a driver, which nobody can open (ENXIO).
func driverless(t *testing.T) string {
	nstest.Full(t, "it makes a device file")
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(511, 255))); err != nil {
		t.Fatal(err)
	}
	return path
}

// A namespace that's there but can't be opened still has what sbr and tuning made: DEL must come again.
func TestDelOfAnUnreachableNamespaceFails(t *testing.T) {
	w := newTuned(t)
	a := w.Attachment
	gone := filepath.Join(t.TempDir(), "left") // by a namespace's end, a plain file
	if err := os.WriteFile(gone, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, fails := range map[string]bool{driverless(t): true, gone: false, gone + "/x": false, "/nowhere": false, "/proc/999999999/ns/net": false} {
		a.NetNS = path
		if err := sbrRoom.del(t.Context(), chained(t, "sbr", "", nil), a); (err != nil) != fails {
			t.Errorf("DEL of sbr in %s: %v", path, err)
		}
		w.add(t, `"mtu":1300`)
		if err := tuningRoom.del(t.Context(), w.conf(t, ""), a); (err != nil) != fails {
			t.Errorf("DEL of tuning in %s: %v", path, err)
		}
	}
}

// What an ADD couldn't save leaves no half of it.
func TestTuningSavesAllOrNothing(t *testing.T) {
	w := newTuned(t)
	if err := unix.Mount("tmpfs", w.dir, "tmpfs", 0, "size=4096"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(w.dir, 0) })
	if err := os.WriteFile(filepath.Join(w.dir, "full"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tuningRoom.add(t.Context(), w.conf(t, `"mtu":1300`), w.Attachment); err == nil {
		t.Error("ADD succeeded on a full disk")
	}
	if list, err := os.ReadDir(w.dir); err != nil || len(list) != 1 {
		t.Errorf("there are %v, %v", list, err)
	}
}

// A file that GC can't read may be a dead container's.
func TestTuningGCTellsWhatItCantRead(t *testing.T) {
	w := newTuned(t)
	w.add(t, `"mtu":1300`)
	file := filepath.Join(w.dir, w.ContainerID+"_"+w.IfName+".json")
	if err := unix.Mount(driverless(t), file, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := tuningRoom.gc(t.Context(), w.conf(t, ""), []Attachment{}); err == nil {
		t.Error("GC succeeded without having read ", file)
	}
	if err := unix.Unmount(file, 0); err != nil {
		t.Fatal(err)
	}
	if err := tuningRoom.gc(t.Context(), w.conf(t, ""), []Attachment{}); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("%s: %v", file, err)
	}
}
