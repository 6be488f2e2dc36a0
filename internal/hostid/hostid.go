// SPDX-License-Identifier: Apache-2.0

// Package hostid identifies hosts and their boots.
package hostid

import (
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// An ID identifies the host and the boot in which an attachment is made.
type ID struct {
	Boot  string // may come from a file that is mounted over the kernel's
	NetNS rtnl.NetNSID
}

const bootID = "kernel/random/boot_id"

// Read identifies the host of a call.
func Read(c *process.Call) (ID, error) {
	boot, err := sysctl.Read(bootID)
	if err != nil {
		return ID{}, fault.Wrap("read the boot ID", err)
	}
	ns, err := c.NetNS()
	return ID{Boot: boot, NetNS: ns}, fault.Wrap("identify the host's network namespace", err)
}

// BootIsReal reports whether the boot ID was read from the kernel's own file: one on procfs with
// nothing mounted over it. LXC, LXD and systemd-nspawn mount over it (STATX_ATTR_MOUNT_ROOT, Linux
// 5.8).
func (h ID) BootIsReal() bool {
	const path = "/proc/sys/" + bootID
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.PROC_SUPER_MAGIC {
		return false
	}
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st) != nil ||
		st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return false
	}
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	return err == nil && sysctl.TrimLine(b[:n]) == h.Boot
}
