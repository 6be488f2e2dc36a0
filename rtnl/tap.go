// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"io/fs"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NoOwner, as [Tap].Owner or Group, is no user or no group.
const NoOwner = -1

// A Tap is a link whose frames a program reads and writes: a virtual machine's other end
// (linux/if_tun.h). It stays while no program has it open. It's a [Link] to batches, which set its
// MAC and MTU, bring it up and delete it.
type Tap struct {
	// Name has at most 15 bytes. It's needed.
	Name string
	// Index is the link's; 0 lets the kernel choose (TUNSETIFINDEX).
	Index int
	// MultiQueue lets a program open it several times, each with a queue (IFF_MULTI_QUEUE). Only a
	// program that asks for the same can open it.
	MultiQueue bool
	// Owner is the ID of the user who may open it, and Group that of the group whose members may.
	// Root may anyway. With [NoOwner] for both, whoever may open /dev/net/tun may open it.
	Owner, Group int
	// Context is the security context that SELinux gives the tap. Without it that's the caller's.
	// The policy must allow the caller to take it (dyntransition, and setcurrent of the caller
	// itself), and must allow it to make a tap with the caller's descriptor. If it can't be taken,
	// the error is an [io/fs.PathError] whose Op is "write".
	Context string
}

// tunPath is the device that makes taps, on the caller's side: no file of a container is opened.
const tunPath = "/dev/net/tun"

// CreateTap makes a tap in a namespace. Its frames have a virtio header and no other (IFF_VNET_HDR,
// IFF_NO_PI), which is also what a program that opens it can change. A tap appears whole: whoever is
// killed in the middle leaves none. If a link has the name or the index the error is [io/fs.ErrExist].
func CreateTap(ns *NetNS, t Tap) error {
	if t.Name == "" || len(t.Name) > maxName || strings.ContainsAny(t.Name, "%\x00") {
		return t.refused(unix.EINVAL, "a tap's name has 1 to 15 bytes, and no percent sign")
	}
	// A tap belongs to the namespace of the thread that opens the device.
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = openRetry(tunPath, unix.O_RDWR|unix.O_CLOEXEC); err != nil {
			err = &fs.PathError{Op: "open", Path: tunPath, Err: err}
		}
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return t.create(fd)
}

func (t *Tap) create(fd int) error {
	// IFF_TUN_EXCL is what keeps it from being another's tap.
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | unix.IFF_TUN_EXCL)
	if t.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	if t.Index != 0 {
		if err := unix.IoctlSetPointerInt(fd, unix.TUNSETIFINDEX, t.Index); err != nil {
			errno, _ := err.(unix.Errno)
			return t.refused(errno, "its index can't be set")
		}
	}
	var r ifreq
	copy(r.name[:], t.Name)
	binary.NativeEndian.PutUint16(r.data[:], flags)
	if err := t.attach(fd, &r); err != nil {
		return err
	}
	for _, set := range [...]struct {
		req   uint
		value int
	}{{unix.TUNSETOWNER, t.Owner}, {unix.TUNSETGROUP, t.Group}, {unix.TUNSETPERSIST, 1}} {
		if set.value == NoOwner {
			continue
		}
		if err := unix.IoctlSetInt(fd, set.req, set.value); err != nil {
			errno, _ := err.(unix.Errno)
			return t.refused(errno, "")
		}
	}
	return nil
}

// attach makes the tap of a descriptor. Until it's persistent, it ends with that.
func (t *Tap) attach(fd int, r *ifreq) error {
	if t.Context != "" {
		return t.attachAs(fd, r)
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(r))); errno != 0 {
		return t.notAttached(errno, "")
	}
	return nil
}

func (t *Tap) notAttached(errno unix.Errno, reason string) error {
	if errno == unix.EBUSY { // a link has the name or the index
		errno = unix.EEXIST
	}
	return t.refused(errno, reason)
}

func (t *Tap) refused(errno unix.Errno, reason string) error {
	return &Error{Change: "create tap " + t.Name, Errno: errno, Reason: reason}
}
