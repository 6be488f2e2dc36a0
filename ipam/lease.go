// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Lease is an address held by an owner.
type Lease struct {
	// Prefix is the address with its subnet's length. If the subnet isn't known, it's the address
	// alone.
	Prefix  netip.Prefix
	Gateway netip.Addr // of its range; unset if the range isn't known
	Set     int        // the range set it came from
	Owner   Owner
}

const (
	// lineBreak parts container ID and interface name in a lease.
	lineBreak = "\r\n"
	// maxLease bounds the bytes that are read of a lease, and that are written.
	maxLease = 3000
)

type leaseForm int

const (
	foreignLease leaseForm = iota // nothing that host-local would find
	wholeLease
	oldLease  // container ID alone
	tornLease // no content: its writer died
)

// content is the content of a lease of o.
func (o Owner) content() string {
	id := strings.TrimSpace(o.ContainerID)
	if o.IfName == "" {
		return id
	}
	return id + lineBreak + o.IfName
}

// parseLease reads a lease's content as host-local matches it: without white space around.
func parseLease(content string) (Owner, leaseForm) {
	if len(content) > maxLease {
		return Owner{}, foreignLease
	}
	text := strings.TrimSpace(content)
	if strings.Trim(text, "\x00") == "" { // some file systems fill the part that a power cut lost with zeros
		return Owner{}, tornLease
	}
	id, ifname, found := strings.Cut(text, lineBreak)
	if !found {
		return Owner{ContainerID: text}, oldLease
	}
	o := Owner{ContainerID: id, IfName: ifname}
	if o.content() != text {
		return Owner{}, foreignLease
	}
	return o, wholeLease
}

// validate refuses owners that host-local couldn't tell from others.
func (o Owner) validate() error {
	parsed, form := parseLease(o.content())
	if form != wholeLease || parsed != o {
		return invalidError("owner " + strconv.Quote(o.String()) + " needs a container ID and an interface name without line breaks, of 3000 bytes together")
	}
	return nil
}

// leaseFile is a lease's file as it was read.
type leaseFile struct {
	owner Owner
	form  leaseForm
	text  string
}

// readLease reads the lease of an address. Anything but a regular file is foreign.
func (s *Store) readLease(name string) (leaseFile, error) {
	fd, err := openAt(s.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ELOOP || err == unix.ENXIO {
		return leaseFile{}, nil
	}
	if err != nil {
		return leaseFile{}, err
	}
	defer unix.Close(fd)
	buf := s.buf[:]
	n, err := unix.Read(fd, buf)
	if n == len(buf) {
		buf = make([]byte, maxLease+1)
		n, err = unix.Pread(fd, buf, 0)
	}
	if err == unix.EISDIR || err == unix.EAGAIN {
		return leaseFile{}, nil
	}
	if err != nil {
		return leaseFile{}, err
	}
	l := leaseFile{text: string(buf[:n])}
	if l.owner, l.form = parseLease(l.text); l.form == tornLease {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
			return leaseFile{}, err
		}
	}
	return l, nil
}

// staged is a lease's content before it's published: a file without a name. It has a name in the
// sidecar if the file system has no files without names.
type staged struct {
	fd      int
	content string
	named   bool
}

const stagedName = "@lease"

// stage writes a lease's content aside, so that publish makes it appear whole. It does so in the
// directory of a boot, unless boot is unset. errRebuild says that there is no such directory yet.
func (s *Store) stage(content, boot string) (staged, error) {
	t := staged{fd: -1, content: content}
	dir, name := s.fd, "."
	if boot != "" {
		dir, name = s.side, bootPrefix+boot
	}
	var err error
	t.fd, err = openAt(dir, name, unix.O_TMPFILE|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if boot != "" && (err == unix.ENOENT || err == unix.ENOTDIR || err == unix.ELOOP) {
		return t, errRebuild
	}
	// EISDIR comes from kernels, EOPNOTSUPP from file systems that don't know O_TMPFILE (open(2)).
	if err == unix.EOPNOTSUPP || err == unix.EISDIR {
		return s.stageNamed(content)
	}
	if err != nil {
		return t, s.pathError("create a lease in", "", err)
	}
	return s.fill(t)
}

func (s *Store) stageNamed(content string) (staged, error) {
	// A crash may have left a lease's second name here. It must never be written to.
	if err := unix.Unlinkat(s.side, stagedName, 0); err != nil && err != unix.ENOENT {
		return staged{fd: -1}, s.pathError("remove", s.sidePath(stagedName), err)
	}
	flags := unix.O_CREAT | unix.O_EXCL | unix.O_WRONLY | unix.O_CLOEXEC
	fd, err := openAt(s.side, stagedName, flags, 0o600)
	if err == unix.ENOENT {
		return staged{fd: -1}, errRebuild
	}
	if err != nil {
		return staged{fd: -1}, s.pathError("create", s.sidePath(stagedName), err)
	}
	return s.fill(staged{fd: fd, content: content, named: true})
}

func (s *Store) fill(t staged) (staged, error) {
	n, err := unix.Write(t.fd, []byte(t.content))
	if err == nil && n < len(t.content) {
		err = unix.ENOSPC
	}
	if err != nil {
		s.drop(&t)
		return t, s.pathError("write a lease in", "", err)
	}
	return t, nil
}

// drop ends a staged lease. A lease that was published from it stays.
func (s *Store) drop(t *staged) {
	if t.fd < 0 {
		return
	}
	unix.Close(t.fd)
	if t.named {
		_ = unix.Unlinkat(s.side, stagedName, 0)
	}
	t.fd = -1
}

// publish makes t the lease of addr. EEXIST says that the address is taken. An owner's leases have
// the same content, so all of them are links to one file.
func (s *Store) publish(t *staged, addr netip.Addr) error {
	name := addr.String()
	s.changed = true
	if t.named {
		return unix.Linkat(s.side, stagedName, s.fd, name, 0)
	}
	err := unix.Linkat(t.fd, "", s.fd, name, unix.AT_EMPTY_PATH)
	if err == unix.ENOENT { // before Linux 6.10 this needs CAP_DAC_READ_SEARCH
		err = unix.Linkat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(t.fd), s.fd, name, unix.AT_SYMLINK_FOLLOW)
	}
	if err == unix.EXDEV { // the leases are a mount of their own
		content := t.content
		s.drop(t)
		if *t, err = s.stage(content, ""); err == nil {
			err = s.publish(t, addr)
		}
	}
	return err
}

func (s *Store) unlinkLease(addr netip.Addr) error {
	s.changed = true
	if err := unix.Unlinkat(s.fd, addr.String(), 0); err != nil && err != unix.ENOENT {
		return s.pathError("remove", addr.String(), err)
	}
	return s.setTaken(addr, false)
}
