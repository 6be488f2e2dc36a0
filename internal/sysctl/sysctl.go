// SPDX-License-Identifier: Apache-2.0

// Package sysctl reads and writes files below /proc/sys of the calling thread's namespace.
package sysctl

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Read reads a file below /proc/sys by system calls alone: os.File would register it with the
// poller.
func Read(name string) (string, error) {
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
	return TrimLine(b[:n]), nil
}

// TrimLine cuts the newlines at the end.
func TrimLine(b []byte) string {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return string(b)
}

// Write writes a file below /proc/sys.
func Write(name, value string) error {
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

// IPv4 and IPv6 are names of one link's sysctls. Link names may hold dots, never slashes.
func IPv4(link, key string) string { return "net/ipv4/conf/" + link + "/" + key }
func IPv6(link, key string) string { return "net/ipv6/conf/" + link + "/" + key }
