// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"errors"
	"io/fs"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// hostID says on which host, in which of its lives, an attachment is made.
type hostID struct {
	boot  string // may be a file that's mounted over the kernel's
	netns rtnl.NetNSID
}

const bootIDName = "kernel/random/boot_id"

func readHostID() (hostID, error) {
	boot, err := readSysctl(bootIDName)
	if err != nil {
		return hostID{}, failed("read the boot ID", err)
	}
	ns, err := rtnl.CurrentNetNSID()
	return hostID{boot: boot, netns: ns}, failed("identify the host's network namespace", err)
}

// openNetNS opens the container's namespace. The descriptor that was checked here is the one that's used.
func openNetNS(a Attachment, host rtnl.NetNSID) (*rtnl.NetNS, error) {
	ns, err := enterable(a, host)
	if e, ok := err.(*Error); ok && e.Code == CodeInvalidEnvironment {
		err = fault.During("failed to open netns "+quote(a.NetNS), e)
	}
	return ns, err
}

// enterable is openNetNS in the words of the plugins that only look into the namespace.
func enterable(a Attachment, host rtnl.NetNSID) (*rtnl.NetNS, error) {
	ns, err := rtnl.OpenNetNS(a.NetNS)
	if err != nil {
		return nil, &Error{Code: CodeInvalidEnvironment, Msg: err.Error(), Key: "CNI_NETNS", Err: err}
	}
	if ns.ID() == host && !a.SharedNetNS {
		ns.Close()
		return nil, errSameNetNS()
	}
	return ns, nil
}

// namespaceGone says whether openNetNS has found that there's no such namespace any more, so that DEL has nothing to do in it.
// Whatever else keeps it from opening one may pass.
func namespaceGone(err error) bool {
	var file *rtnl.NotNetNSError
	var link *rtnl.SymlinkError
	return absent(err) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOTDIR) || errors.As(err, &file) || errors.As(err, &link)
}

func errSameNetNS() error {
	return &Error{Code: CodeInvalidNetNS, Msg: "plugin's netns and netns from CNI_NETNS should not be the same", Key: "CNI_NETNS",
		Details: "the container has no network namespace of its own"}
}

// readSysctl reads a file below /proc/sys by system calls alone: os.File would register it with the poller.
func readSysctl(name string) (string, error) {
	fd, err := unix.Open("/proc/sys/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &fs.PathError{Op: "open", Path: "/proc/sys/" + name, Err: err}
	}
	defer unix.Close(fd)
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: "/proc/sys/" + name, Err: err}
	}
	return trimLine(b[:n]), nil
}

func trimLine(b []byte) string {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return string(b)
}

func writeSysctl(name, value string) error {
	fd, err := unix.Open("/proc/sys/"+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: "/proc/sys/" + name, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &fs.PathError{Op: "write", Path: "/proc/sys/" + name, Err: err}
	}
	return nil
}

// sysctls of one link, by family. Link names may hold dots, never slashes.
func sysctl4(link, key string) string { return "net/ipv4/conf/" + link + "/" + key }
func sysctl6(link, key string) string { return "net/ipv6/conf/" + link + "/" + key }

// absent reports whether an error says that something isn't there.
func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }
