// SPDX-License-Identifier: Apache-2.0

package box

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// Addresses of the wire between the box and the router outside.
var (
	Uplink  = netip.MustParsePrefix("192.0.2.2/24")
	Outside = netip.MustParsePrefix("192.0.2.1/24")
)

// A Host is the box, seen from inside.
type Host struct {
	Outside *rtnl.NetNS // a router, which knows no way to addresses behind the box

	here *rtnl.NetNS
}

// netnsDir has the names of namespaces.
const netnsDir = "/run/netns"

// Enter makes a host of the namespaces that this process is alone in. files are the machine's files and
// directories that it has, target by source. Nobody in the box can write them, though root in it may be the
// machine's. It has nothing else of the machine's.
func Enter(files map[string]string) (*Host, error) {
	os.Unsetenv(insideVar)
	if err := private(); err != nil {
		return nil, err
	}
	if err := furnish(files); err != nil {
		return nil, err
	}
	if err := unix.Sethostname([]byte("box")); err != nil {
		return nil, os.NewSyscallError("sethostname", err)
	}
	h := new(Host)
	var err error
	if h.here, err = rtnl.CurrentNetNS(); err != nil {
		return nil, err
	}
	if h.Outside, err = h.NewNetNS("outside"); err != nil {
		return nil, err
	}
	return h, h.wire()
}

// private keeps the mounts to come from the machine. That can't be done from within a chroot whose root
// no file system is mounted on.
func private() error {
	err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if errors.Is(err, unix.EINVAL) {
		return errors.New("the root directory is a chroot's that isn't a mount: mount --bind DIR DIR makes it one")
	}
	if err != nil {
		return denied("make mounts private", err)
	}
	return nil
}

// furnish makes a root directory of its own. It's mounted over the old one, since that one may have no
// directory to mount anything on, and its ".." leads to what is mounted over it.
func furnish(files map[string]string) error {
	if err := unix.Mount("tmpfs", "/", "tmpfs", 0, "mode=755"); err != nil {
		return denied("mount a root directory", err)
	}
	if err := os.Chdir("/.."); err != nil {
		return err
	}
	for _, dir := range []string{"proc", "tmp", "." + netnsDir} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", "proc", "proc", 0, ""); err != nil {
		return denied("mount /proc", err)
	}
	for target, source := range files {
		if err := bind(source, "."+target); err != nil {
			return err
		}
		if err := readOnly("." + target); err != nil {
			return &os.PathError{Op: "make read-only", Path: target, Err: err}
		}
	}
	if err := null(); err != nil {
		return fmt.Errorf("make /dev/null: %w", err)
	}
	return errors.Join(os.NewSyscallError("chroot", unix.Chroot(".")), os.Chdir("/"))
}

// null makes /dev/null: the machine's, since only the machine's root makes devices, or one of its own.
func null() error {
	const path = "dev/null"
	err := bind("/"+path, path)
	if errors.Is(err, fs.ErrNotExist) {
		err = errors.Join(os.MkdirAll("dev", 0o755), unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	}
	return err
}

// bind shows a file or a directory at another path as well.
func bind(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		err = os.WriteFile(target, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "bind", Path: source, Err: err}
	}
	return nil
}

// readOnly keeps writers from a mount and those below it. What else the machine has set for them stays set.
func readOnly(target string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if unix.MountSetattr(unix.AT_FDCWD, target, unix.AT_RECURSIVE, &attr) == nil {
		return nil
	}
	return remount(target) // before Linux 5.12, or a filter refuses the call
}

// remount does it for a mount alone. Flags that aren't named are cleared, and a user namespace may not clear
// those that the machine has set.
func remount(target string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return err
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY)
	for is, set := range map[int64]uintptr{
		unix.ST_NOSUID: unix.MS_NOSUID, unix.ST_NODEV: unix.MS_NODEV, unix.ST_NOEXEC: unix.MS_NOEXEC,
		unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME, unix.ST_RELATIME: unix.MS_RELATIME,
	} {
		if int64(st.Flags)&is != 0 {
			flags |= set
		}
	}
	return unix.Mount("", target, "", flags, "")
}

// wire gives the box an uplink to the router, and its route to all else. A new namespace may have
// copied the machine's settings of IPv4 (net.core.devconf_inherit_init_net), so forwarding is set.
func (h *Host) wire() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0); err != nil {
		return err
	}
	const host, router = 1000, 1001 // indexes of links
	var b rtnl.Batch
	b.Set(rtnl.Link{Name: "lo", State: rtnl.Up})
	b.Create(rtnl.Veth{Link: rtnl.Link{Name: "uplink", Index: host, State: rtnl.Up}, Peer: rtnl.Link{Name: "eth0", Index: router, NetNS: h.Outside}})
	if err := do(h.here, &b); err != nil {
		return err
	}
	b = rtnl.Batch{}
	b.Set(rtnl.Link{Name: "lo", State: rtnl.Up})
	b.Set(rtnl.Link{Index: router, State: rtnl.Up})
	b.Create(rtnl.Addr{Link: router, Prefix: Outside})
	if err := do(h.Outside, &b); err != nil {
		return err
	}
	b = rtnl.Batch{}
	b.Create(rtnl.Addr{Link: host, Prefix: Uplink})
	b.Create(rtnl.DefaultRoute(Outside.Addr()))
	return do(h.here, &b)
}

func do(in *rtnl.NetNS, b *rtnl.Batch) error {
	c, err := rtnl.Dial(in)
	if err != nil {
		return err
	}
	return errors.Join(c.Do(b), c.Close())
}

// NewNetNS makes a network namespace, as a runtime does for a container, and names it.
func (h *Host) NewNetNS(name string) (*rtnl.NetNS, error) {
	path := filepath.Join(netnsDir, name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, err
	}
	err := h.here.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		return os.NewSyscallError("mount", unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""))
	})
	if err != nil {
		return nil, fmt.Errorf("new network namespace: %w", err)
	}
	return rtnl.OpenNetNS(path)
}

// RemoveNetNS takes the name of a namespace away, and with it the namespace if nobody else has it.
func (h *Host) RemoveNetNS(ns *rtnl.NetNS) error {
	return errors.Join(ns.Close(), unix.Unmount(ns.Path(), unix.MNT_DETACH), os.Remove(ns.Path()))
}
