// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"strings"

	"golang.org/x/sys/unix"
)

const (
	dirFlags  = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	pathFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// openAt is openat(2). It begins again if a signal ends it.
func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// openInside is openAt that follows no symbolic link anywhere in name. So a user that may write to
// one of its directories can't lead it elsewhere.
func openInside(dir int, name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode), Resolve: unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(dir, name, &how)
		switch err {
		case unix.EINTR:
			continue
		case unix.ENOSYS, unix.EPERM: // before Linux 5.6, and from filters that don't know the call
			return walkInside(dir, name, flags, mode)
		}
		return fd, err
	}
}

// walkInside is openInside by a call for each directory of name.
func walkInside(dir int, name string, flags int, mode uint32) (int, error) {
	for at := dir; ; {
		first, rest, more := strings.Cut(name, "/")
		f, m := pathFlags, uint32(0)
		if !more {
			f, m = flags|unix.O_NOFOLLOW, mode
		}
		fd, err := openAt(at, first, f, m)
		if at != dir {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, name = fd, rest
	}
}
