// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// rootfs is a container's root directory, seen from the host. The container or its image made
// everything in it. So nothing in it is reached through a symbolic link, which could lead anywhere
// on the host. No file in it is written to, since it may be a hard link to a file that others
// share.
//
// Each look-up is of one component relative to an open directory, with O_NOFOLLOW. For paths this
// short, openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS would do no more, and every kernel
// has this one.
type rootfs struct {
	fd   int
	path string
}

// openRootfs opens the root directory at a path that comes from the host's own configuration.
func openRootfs(path string) (*rootfs, error) {
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &rootfs{fd, path}, nil
}

func (r *rootfs) close() { unix.Close(r.fd) }

// errReadOnly is the error for a root directory on a file system that is mounted read-only.
var errReadOnly = errors.New("read-only file system")

// writeResolvConf replaces /etc/resolv.conf, whatever it is, in one step. On failure nothing of the
// new one is left. A container can do without it if the error is [errReadOnly].
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

// openEtc opens the directory etc. It makes it if it's missing.
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

// replaceFile makes a file under a name that nobody can foresee and renames it into place, over a
// file, a symbolic link or anything but a directory. The old one must never be opened.
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

// openAt is openat(2). It begins again if a signal ends it.
func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
