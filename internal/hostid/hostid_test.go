// SPDX-License-Identifier: Apache-2.0

package hostid

import (
	"testing"

	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/internal/test/nstest"
	"github.com/swiftcni/swiftcni/internal/test/oldkernel"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// A boot ID is real unless something is mounted over its file.
func TestBootIsReal(t *testing.T) {
	bootIsReal(t, func(fn func()) error { fn(); return nil })
}

// A kernel before 5.8, and one whose statx(2) is refused, say the same.
func TestBootIsRealOnOldKernels(t *testing.T) {
	nstest.Kernel(t)
	for _, k := range []oldkernel.Kernel{oldkernel.Kernel(unix.ENOSYS), oldkernel.Kernel(unix.EPERM)} {
		t.Run(unix.ErrnoName(unix.Errno(k)), func(t *testing.T) { bootIsReal(t, k.Run) })
	}
}

// bootIsReal asks on the kernel that run gives.
func bootIsReal(t *testing.T, run func(fn func()) error) {
	t.Helper()
	const file = "/proc/sys/" + bootID
	check := func(want bool, about string) {
		t.Helper()
		boot, err := sysctl.Read(bootID)
		if err != nil {
			t.Fatal(err)
		}
		if err := run(func() {
			if got := (ID{Boot: boot}).BootIsReal(); got != want {
				t.Errorf("%s: real is %t", about, got)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	check(true, "the kernel's own")
	if (ID{Boot: "another"}).BootIsReal() {
		t.Error("another boot's ID is real")
	}
	for from, about := range map[string]string{"/proc/sys/kernel/domainname": "another file of procfs", "/proc/version": "another mount of procfs", "/etc/hostname": "a file"} {
		if err := unix.Mount(from, file, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		check(false, about)
		if err := unix.Unmount(file, 0); err != nil {
			t.Fatal(err)
		}
	}
}
