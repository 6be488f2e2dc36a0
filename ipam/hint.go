// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

const hintPrefix = "last_reserved_ip."

// hint is the file with the last reserved address of a range set, from which the next search goes
// on. It decides nothing: whatever it says, an address is given once.
type hint struct {
	name string
	fd   int // -1 if there is no file yet
	size int // of its content
	last netip.Addr

	existed bool // before this reservation
}

// openHint reads the hint of a range set. A hint that can't be understood is the same as none.
func (s *Store) openHint(set int) (hint, error) {
	h := hint{name: hintPrefix + strconv.Itoa(set), fd: -1}
	fd, err := openAt(s.fd, h.name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return h, nil
	}
	if err != nil {
		return h, s.pathError("open", h.name, err)
	}
	h.fd, h.existed = fd, true
	var buf [64]byte // an address has at most 45 bytes
	if h.size, err = unix.Read(fd, buf[:]); err != nil {
		h.close()
		return h, s.pathError("read", h.name, err)
	}
	if addr, err := netip.ParseAddr(string(buf[:h.size])); err == nil && addr.Zone() == "" {
		h.last = addr.Unmap()
	}
	return h, nil
}

// write overwrites the hint in place, as host-local does.
func (h *hint) write(s *Store, addr netip.Addr) error {
	text := addr.AppendTo(make([]byte, 0, 64))
	if h.fd < 0 {
		s.changed = true
		flags := unix.O_WRONLY | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := openAt(s.fd, h.name, flags, 0o600)
		if err != nil {
			return s.pathError("create", h.name, err)
		}
		h.fd = fd
	}
	n, err := unix.Pwrite(h.fd, text, 0)
	if err == nil && n < len(text) {
		err = unix.ENOSPC
	}
	if err == nil && h.size > len(text) {
		err = unix.Ftruncate(h.fd, int64(len(text)))
	}
	if err != nil {
		return s.pathError("write", h.name, err)
	}
	return nil
}

func (h *hint) close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
		h.fd = -1
	}
}
