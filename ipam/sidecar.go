// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// bootPrefix begins the name of a link from the sidecar to itself. A reservation reaches its record through
	// the link of its boot, so that the first one after a boot fails without a system call of its own asking.
	bootPrefix = "@boot."
	// nextName is a record on its way to replace another.
	nextName = "@next"
)

// records is the sidecar's path through a boot's link, or straight where boot is unset.
func (s *Store) records(boot string) string {
	if boot == "" {
		return s.side
	}
	return s.side + bootPrefix + boot + "/"
}

// readRecord reads an owner's record. A text that isn't one is treated as none, and ends the sidecar's trust.
func (s *Store) readRecord(dir string, o Owner) (Record, bool, error) {
	name := recordName(o)
	r, ok, err := s.readRecordNamed(dir, name)
	if err != nil || !ok {
		return Record{}, false, err
	}
	if r.Owner != o {
		return Record{}, false, invalidError("the record " + s.side + name + " belongs to " + r.Owner.String())
	}
	return r, true, nil
}

func (s *Store) readRecordNamed(dir, name string) (Record, bool, error) {
	buf := s.buf[:]
	n, err := unix.Readlinkat(s.fd, dir+name, buf)
	if n == len(buf) {
		buf = make([]byte, maxRecord+1)
		n, err = unix.Readlinkat(s.fd, dir+name, buf)
	}
	if err == unix.ENOENT || err == unix.ELOOP {
		return Record{}, false, nil
	}
	if err == unix.EINVAL { // something else than a link
		s.marked = false
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, s.pathError("read", s.side+name, err)
	}
	r, ok := parseRecord(name, string(buf[:n]))
	if !ok {
		s.marked = false
	}
	return r, ok, nil
}

// writeRecord publishes a record, whole, in place of an earlier one if replace is set. errRebuild says that
// dir doesn't exist.
func (s *Store) writeRecord(dir string, r *Record, replace bool) error {
	text, err := r.text()
	if err != nil {
		return err
	}
	name := recordName(r.Owner)
	if !replace {
		err = unix.Symlinkat(text, s.fd, dir+name)
		replace = err == unix.EEXIST
	}
	if replace {
		err = s.replaceLink(text, dir, name)
	}
	if err == unix.ENOENT || err == unix.ELOOP {
		return errRebuild
	}
	if err != nil {
		return s.pathError("write", s.side+name, err)
	}
	return nil
}

func (s *Store) replaceLink(text, dir, name string) error {
	err := unix.Symlinkat(text, s.fd, dir+nextName)
	if err == unix.EEXIST { // a crash left it
		if err := unix.Unlinkat(s.fd, dir+nextName, 0); err != nil {
			return err
		}
		err = unix.Symlinkat(text, s.fd, dir+nextName)
	}
	if err != nil {
		return err
	}
	return unix.Renameat(s.fd, dir+nextName, s.fd, dir+name)
}

func (s *Store) unlinkRecord(o Owner) error {
	name := recordName(o)
	if err := unix.Unlinkat(s.fd, s.side+name, 0); err != nil && err != unix.ENOENT {
		return s.pathError("remove", s.side+name, err)
	}
	return nil
}

// rebuild makes the sidecar agree with the leases, by reading all of them: torn leases and records without
// leases go, leases without records get one. With a boot that has no link yet, records of other boots that
// alive denies go with their leases.
func (s *Store) rebuild(boot string, alive func(Record) bool) error {
	if s.readOnly {
		return errUnmarked
	}
	s.marked, s.flags, s.hasLast = false, 0, false
	held, old, err := s.scan(true)
	if err != nil {
		return err
	}
	if err := s.makeSidecar(); err != nil {
		return err
	}
	fresh := boot != "" && unix.Faccessat(s.fd, s.side+bootPrefix+boot, unix.F_OK, 0) != nil
	if !fresh {
		alive = nil
	}
	if err := s.reconcile(held, boot, alive); err != nil {
		return err
	}
	for o, addrs := range held {
		err := s.writeRecord(s.side, &Record{Owner: o, Addrs: addrs}, false)
		if err != nil && !errors.Is(err, ErrInvalid) { // no request can name such an owner
			return err
		}
	}
	if fresh {
		if err := unix.Symlinkat(".", s.fd, s.side+bootPrefix+boot); err != nil {
			return s.pathError("write", s.side+bootPrefix+boot, err)
		}
	}
	if old {
		s.flags |= flagOld
	}
	s.marked, s.changed = true, true
	s.setMark()
	return nil
}

// makeSidecar makes the directory of the records. The lease directory's parent exists.
func (s *Store) makeSidecar() error {
	dir := strings.TrimSuffix(s.side, "/")
	err := unix.Mkdirat(s.fd, dir, 0o700)
	if err == unix.ENOENT {
		err = unix.Mkdirat(s.fd, "../"+sidecarDir, 0o700)
		if err == nil || err == unix.EEXIST { // another network may just have made it
			err = unix.Mkdirat(s.fd, dir, 0o700)
		}
	}
	if err != nil && err != unix.EEXIST {
		return s.pathError("create", dir, err)
	}
	return nil
}

// reconcile goes through the records, and takes from held what they describe rightly afterwards.
func (s *Store) reconcile(held map[Owner][]netip.Addr, boot string, alive func(Record) bool) error {
	for name, err := range s.names(s.side) {
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "@") {
			if boot != "" && name != bootPrefix+boot && name != takenDir {
				_ = unix.Unlinkat(s.fd, s.side+name, 0)
			}
			continue
		}
		r, ok, err := s.readRecordNamed(s.side, name)
		if err != nil {
			return err
		}
		addrs := held[r.Owner]
		if !ok || len(addrs) == 0 {
			if err := unix.Unlinkat(s.fd, s.side+name, 0); err != nil && err != unix.ENOENT && err != unix.EISDIR {
				return s.pathError("remove", s.side+name, err)
			}
			continue
		}
		if alive != nil && r.Boot != "" && r.Boot != boot && !alive(r) {
			r.Addrs = addrs
			err = s.end(&r)
		} else if !sameAddrs(r.Addrs, addrs) {
			r.Addrs = addrs
			err = s.writeRecord(s.side, &r, true)
		}
		if err != nil {
			return err
		}
		delete(held, r.Owner)
	}
	return nil
}

func sameAddrs(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, netip.Addr.Compare)
	slices.SortFunc(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}

// scan reads all leases. Where mend is set, torn ones are removed: writers hold the lock while they write, so
// under the lock an empty lease has none.
func (s *Store) scan(mend bool) (held map[Owner][]netip.Addr, old bool, err error) {
	held = make(map[Owner][]netip.Addr)
	for name, err := range s.names(".") {
		if err != nil {
			return nil, false, err
		}
		addr, ok := parseAddr(name)
		if !ok {
			continue
		}
		o, form, err := s.readLease(name)
		if err != nil && err != unix.ENOENT {
			return nil, false, s.pathError("read", name, err)
		}
		switch {
		case err != nil || form == foreignLease:
		case form == tornLease && mend:
			if err := unix.Unlinkat(s.fd, name, 0); err != nil && err != unix.ENOENT {
				return nil, false, s.pathError("remove", name, err)
			}
		case form != tornLease:
			held[o] = append(held[o], addr)
			old = old || form == oldLease
		}
	}
	for _, addrs := range held {
		slices.SortFunc(addrs, netip.Addr.Compare)
	}
	return held, old, nil
}

// names lists a directory below the lease directory, in no order.
func (s *Store) names(dir string) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		fd, err := openAt(s.fd, dir, dirFlags, 0)
		if err != nil {
			yield("", s.pathError("open", dir, err))
			return
		}
		defer unix.Close(fd)
		buf := make([]byte, 32<<10)
		for {
			n, err := unix.ReadDirent(fd, buf)
			if err != nil {
				yield("", s.pathError("list", dir, err))
				return
			}
			if n == 0 {
				return
			}
			_, _, names := unix.ParseDirent(buf[:n], -1, nil)
			for _, name := range names {
				if !yield(name, nil) {
					return
				}
			}
		}
	}
}
