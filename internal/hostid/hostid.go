// SPDX-License-Identifier: Apache-2.0

// Package hostid identifies hosts and their boots.
package hostid

import (
	"strconv"
	"strings"

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
// 5.8). If the kernel doesn't say, the file is compared with its directory.
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
	switch err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st); {
	case err != nil || st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0:
		if !sharesMount(fd, path[:len(path)-len("/boot_id")]) {
			return false
		}
	case st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0:
		return false
	}
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	return err == nil && sysctl.TrimLine(b[:n]) == h.Boot
}

// sharesMount reports whether an open file is on the same mount as a directory.
func sharesMount(file int, dir string) bool {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	id := mount(file)
	return id != "" && id == mount(fd)
}

// mount is the ID of an open file's mount as procfs has it, or "".
func mount(fd int) string {
	info, err := unix.Open("/proc/thread-self/fdinfo/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(info)
	var b [256]byte
	n, _ := unix.Read(info, b[:])
	_, id, _ := strings.Cut(string(b[:max(n, 0)]), "mnt_id:")
	id, _, _ = strings.Cut(id, "\n")
	return id
}
