// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/swiftcni/swiftcni/internal/flock"
	"github.com/swiftcni/swiftcni/internal/inside"
	"golang.org/x/sys/unix"
)

// A NetNS is an open network namespace. It stays the same, and alive, whatever becomes of its path.
// Many goroutines may use one. Close it when none does.
type NetNS struct {
	fd   int
	path string
}

// A NetNSID tells namespaces apart: two handles are of the same one if their IDs are equal. The
// kernel can give the ID of a dead namespace to a new one.
type NetNSID struct{ Dev, Ino uint64 }

// NotNetNSError is a path that isn't a network namespace: often the file left under /run/netns by a
// reboot or a lost mount.
type NotNetNSError struct {
	Path string
	// Magic is the type of the file system that the path is on (statfs(2), linux/magic.h).
	Magic int64
	// Type is the CLONE_NEW* flag of a namespace of another type, or 0.
	Type int
}

func (e *NotNetNSError) Error() string {
	if e.Type != 0 {
		return fmt.Sprintf("%q is a namespace, but not of networks (type %#x)", e.Path, e.Type)
	}
	return fmt.Sprintf("unknown FS magic on %q: %x", e.Path, e.Magic)
}

// SymlinkError is a path whose last part is a symbolic link, which another program could change
// between a check and a use. The links that procfs itself makes are followed.
type SymlinkError struct{ Path string }

func (e *SymlinkError) Error() string {
	return fmt.Sprintf("%q is a symbolic link, not a network namespace", e.Path)
}

// OpenNetNS opens the namespace at path: a bind mount such as /run/netns/NAME, or /proc/PID/ns/net.
// The error for a missing path is [io/fs.ErrNotExist]; for a file that isn't a network namespace
// it's a [*NotNetNSError] or [*SymlinkError]. The descriptor that was checked is the one that's
// used.
func OpenNetNS(path string) (*NetNS, error) {
	// With O_NONBLOCK, files that would block or act on opening don't: FIFOs, devices.
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	if !isProcNetNS(path) {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openRetry(path, flags)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil, fmt.Errorf("failed to Statfs %q: %w", path, err)
	case err == unix.ELOOP && flags&unix.O_NOFOLLOW != 0:
		return nil, &SymlinkError{Path: path}
	case err != nil:
		return nil, fmt.Errorf("failed to open %q: %w", path, err)
	}
	if err := checkNetNS(fd, path); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &NetNS{fd: fd, path: path}, nil
}

// checkNetNS asks a descriptor which type of namespace it is. Only nsfs knows NS_GET_NSTYPE
// (ioctl_ns(2), Linux 4.11).
func checkNetNS(fd int, path string) error {
	typ, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err == nil && typ == unix.CLONE_NEWNET {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return fmt.Errorf("failed to Statfs %q: %w", path, err)
	}
	e := &NotNetNSError{Path: path, Magic: int64(st.Type)}
	if int64(st.Type) == unix.NSFS_MAGIC {
		if err != nil {
			return fmt.Errorf("failed to ask for the kind of namespace %q: %w", path, err)
		}
		e.Type = typ
	}
	return e
}

// isProcNetNS reports whether path has the form of one of procfs's own links: /proc/PID/ns/net,
// /proc/PID/task/TID/ns/net. PID may be self or thread-self.
func isProcNetNS(path string) bool {
	rest, ok := strings.CutPrefix(path, "/proc/")
	if !ok {
		return false
	}
	rest, ok = strings.CutSuffix(rest, "/ns/net")
	pid, task, isTask := strings.Cut(rest, "/task/")
	return ok && (pid == "self" || pid == "thread-self" || isNumber(pid)) && (!isTask || isNumber(task))
}

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

func openRetry(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// CurrentNetNS opens the calling thread's namespace. Its error is that of the system call.
func CurrentNetNS() (*NetNS, error) {
	fd, err := inside.Own()
	if err != nil {
		return nil, err
	}
	return &NetNS{fd: fd, path: inside.OwnPath}, nil
}

// CurrentNetNSID returns the ID of the calling thread's namespace. Errors are those of
// [CurrentNetNS].
func CurrentNetNSID() (NetNSID, error) {
	ns, err := CurrentNetNS()
	if err != nil {
		return NetNSID{}, err
	}
	defer ns.Close()
	return ns.ID(), nil
}

// FD returns the descriptor. The NetNS still owns it.
func (ns *NetNS) FD() int { return ns.fd }

// Path returns the path that it was opened by.
func (ns *NetNS) Path() string { return ns.path }

// Close closes the handle. A second Close returns an error and touches nothing.
func (ns *NetNS) Close() error {
	fd := ns.fd
	ns.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// Lock locks the namespace by flock(2), for work that takes several steps, such as choosing a
// routing table that isn't used yet. It keeps others from locking the namespace, and from nothing
// else. Close unlocks.
//
// Lock waits until the lock is free or ctx ends. It then returns ctx's error.
func (ns *NetNS) Lock(ctx context.Context) error {
	err := flock.Lock(ctx, ns.fd)
	if errno, ok := err.(unix.Errno); ok {
		return os.NewSyscallError("flock", errno)
	}
	return err
}

// ID returns the namespace's identity, by one fstat(2). A closed handle has the zero ID.
func (ns *NetNS) ID() NetNSID {
	var st unix.Stat_t
	if err := unix.Fstat(ns.fd, &st); err != nil {
		return NetNSID{}
	}
	return NetNSID{Dev: uint64(st.Dev), Ino: st.Ino}
}

// Equal reports whether both are handles of one namespace.
func (ns *NetNS) Equal(other *NetNS) bool { return ns.ID() == other.ID() }

// Do runs fn on a thread inside the namespace and brings the thread back, in seven system calls
// besides fn's. It's meant only for interfaces without a socket, such as /proc/sys. Goroutines that
// fn starts don't run inside. The error is fn's, or a system call's if fn didn't run. Do waits for
// nothing but fn.
func (ns *NetNS) Do(fn func() error) error {
	runtime.LockOSThread()
	own, err := inside.Own()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer unix.Close(own)
	if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter namespace %q: %w", ns.path, os.NewSyscallError("setns", err))
	}
	// This is deferred, so that a fn that panics or ends its goroutine leaves the thread where it
	// was. A thread that can't come back stays locked, and so ends with its goroutine.
	defer func() {
		if unix.Setns(own, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
