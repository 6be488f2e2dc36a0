// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// rootfs is a container's root directory, seen from the host. Whatever is in it was made by the container or
// its image, so nothing in it is reached through a symbolic link, which would lead anywhere on the host, and no
// file in it is written to, since it may be a hard link to a file that others share.
//
// Each look-up is of one component relative to an open directory, with O_NOFOLLOW. For paths this short that's
// all that openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS would do, and every kernel has it.
type rootfs struct {
	fd   int
	path string
}

// openRootfs opens the root directory at a path which the host's own configuration gives.
func openRootfs(path string) (*rootfs, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &rootfs{fd, path}, nil
}

func (r *rootfs) close() { unix.Close(r.fd) }

// errReadOnly is a root directory on a file system that's mounted read-only.
var errReadOnly = errors.New("read-only file system")

// writeResolvConf puts a new /etc/resolv.conf in place of whatever has that name, in one step. On failure nothing
// of it is left; [errReadOnly] is one that a container may do without.
func (r *rootfs) writeResolvConf(text string) error {
	etc, made, err := r.openEtc()
	if err == nil {
		defer unix.Close(etc)
		err = replaceFile(etc, "resolv.conf", text)
	}
	if err == nil {
		return nil
	}
	if made {
		_ = unix.Unlinkat(r.fd, "etc", unix.AT_REMOVEDIR)
	}
	if errors.Is(err, unix.EROFS) {
		err = errReadOnly
	}
	return fmt.Errorf("write etc/resolv.conf in %s: %w", r.path, err)
}

// openEtc opens the directory etc, made where it's missing.
func (r *rootfs) openEtc() (fd int, made bool, err error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err = openAt(r.fd, "etc", flags, 0)
	if err == unix.ENOENT {
		if err = unix.Mkdirat(r.fd, "etc", 0o755); err != nil {
			return -1, false, err
		}
		made = true
		if fd, err = openAt(r.fd, "etc", flags, 0); err == nil {
			err = unix.Fchmod(fd, 0o755) // whatever the umask
		}
	}
	if err == unix.ENOTDIR || err == unix.ELOOP {
		err = errors.New("etc is not a directory, and symbolic links in a container's root aren't followed")
	}
	return fd, made, err
}

// replaceFile makes a file under a name that nobody can foresee and renames it into place, over a file, a
// symbolic link or anything but a directory. Opening the old one is what must never happen.
func replaceFile(dir int, name, text string) error {
	temp := "." + name + "." + rand.Text()
	fd, err := openAt(dir, temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	if err == nil {
		err = unix.Fchmod(fd, 0o644)
	}
	if closeErr := unix.Close(fd); err == nil {
		err = closeErr
	}
	if err == nil {
		err = unix.Renameat(dir, temp, dir, name)
	}
	if err != nil {
		_ = unix.Unlinkat(dir, temp, 0)
	}
	return err
}

// openAt is openat(2), begun again when a signal ends it.
func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
