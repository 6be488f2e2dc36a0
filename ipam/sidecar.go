// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// nextName is a record that is about to replace another.
const nextName = "@next"

// sidePath is the path of a thing in the sidecar, relative to the lease directory.
func (s *Store) sidePath(name string) string {
	path := "../" + sidecarDir + "/" + s.network
	if name != "" {
		path += "/" + name
	}
	return path
}

// readRecord reads an owner's record. A text that isn't a record counts as none, and the sidecar is
// no longer trusted.
func (s *Store) readRecord(o Owner) (Record, bool, error) {
	name := recordName(o)
	r, ok, err := s.readRecordNamed(name)
	if err != nil || !ok {
		return Record{}, false, err
	}
	if r.Owner != o {
		return Record{}, false, invalidError("the record " + s.sidePath(name) + " belongs to " + r.Owner.String())
	}
	return r, true, nil
}

func (s *Store) readRecordNamed(name string) (Record, bool, error) {
	if s.side < 0 {
		return Record{}, false, nil
	}
	buf := s.buf[:]
	n, err := unix.Readlinkat(s.side, name, buf)
	if n == len(buf) {
		buf = make([]byte, maxRecord+1)
		n, err = unix.Readlinkat(s.side, name, buf)
	}
	if err == unix.ENOENT {
		return Record{}, false, nil
	}
	if err == unix.EINVAL { // it isn't a link
		s.marked = false
		return Record{}, false, nil
	}
	if err != nil {
		return Record{}, false, s.pathError("read", s.sidePath(name), err)
	}
	r, ok := parseRecord(name, string(buf[:n]))
	if !ok {
		s.marked = false
	}
	return r, ok, nil
}

// writeRecord publishes a record, whole. If replace is set, it replaces an earlier one. errRebuild
// says that the sidecar doesn't exist any more.
func (s *Store) writeRecord(r *Record, replace bool) error {
	text, err := r.text()
	if err != nil {
		return err
	}
	name := recordName(r.Owner)
	if !replace {
		err = unix.Symlinkat(text, s.side, name)
		replace = err == unix.EEXIST
	}
	if replace {
		err = s.replaceLink(text, name)
	}
	if err == unix.ENOENT {
		return errRebuild
	}
	if err != nil {
		return s.pathError("write", s.sidePath(name), err)
	}
	return nil
}

func (s *Store) replaceLink(text, name string) error {
	err := unix.Symlinkat(text, s.side, nextName)
	if err == unix.EEXIST { // a crash left it
		if err := unix.Unlinkat(s.side, nextName, 0); err != nil {
			return err
		}
		err = unix.Symlinkat(text, s.side, nextName)
	}
	if err != nil {
		return err
	}
	return unix.Renameat(s.side, nextName, s.side, name)
}

func (s *Store) unlinkRecord(o Owner) error {
	name := recordName(o)
	if err := unix.Unlinkat(s.side, name, 0); err != nil && err != unix.ENOENT {
		return s.pathError("remove", s.sidePath(name), err)
	}
	return nil
}

// rebuild makes the sidecar agree with the leases, by reading all of them. Torn leases are mended,
// records without leases go, and leases without records get one. If the request's boot has no
// directory yet, records of other boots that it proves dead go with their leases. Without a request
// nothing is proven.
func (s *Store) rebuild(req *Request) error {
	if req == nil {
		req = &Request{}
	}
	boot := req.Record.Boot
	if s.readOnly {
		return errUnmarked
	}
	untouched, known := s.marked, s.side >= 0
	s.marked, s.flags, s.hasLast = false, 0, false
	held, empty, err := s.scan()
	if err != nil {
		return err
	}
	if err := s.makeSidecar(); err != nil {
		return err
	}
	fresh := boot != "" && !s.served(boot)
	records, boots, err := s.sortOut(boot)
	if err != nil {
		return err
	}
	if err := s.mend(records, held, empty, untouched); err != nil {
		return err
	}
	for o := range held {
		if o.IfName == "" {
			s.flags |= flagOld
		}
	}
	ended := s.endPrior
	if !fresh {
		ended = func(*Request, *Record) (bool, error) { return false, nil }
	}
	kept, err := s.reconcile(records, held, func(r *Record) (bool, error) { return ended(req, r) })
	if err != nil {
		return err
	}
	// The leases that reconcile left in held are other programs'. If the sidecar has served this
	// boot before, it isn't known who changed the leases.
	if len(held) > 0 || known && !fresh || !known && s.wasUsed() {
		s.flags |= flagMACs
	}
	if boot != "" {
		s.forgetBoots(boots, boot, kept)
	}
	if fresh {
		if err := s.serve(boot); err != nil {
			return err
		}
	}
	s.NoteBoot(boot, req.TrueBoot)
	s.marked, s.changed = true, true
	s.setMark()
	return nil
}

// wasUsed reports whether an address was ever reserved here.
func (s *Store) wasUsed() bool {
	var st unix.Stat_t
	return unix.Fstatat(s.fd, hintPrefix+"0", &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// remove removes a file or an empty directory from the sidecar, if possible.
func (s *Store) remove(name string) {
	if unix.Unlinkat(s.side, name, 0) == unix.EISDIR {
		_ = unix.Unlinkat(s.side, name, unix.AT_REMOVEDIR)
	}
}

// makeSidecar makes the directory of the records and opens it anew, since it may be gone. The lease
// directory's parent exists, and only its owner can replace it.
func (s *Store) makeSidecar() error {
	if s.side >= 0 {
		unix.Close(s.side)
		s.side = -1
	}
	const parentPath = "../" + sidecarDir
	if err := unix.Mkdirat(s.fd, parentPath, 0o700); err != nil && err != unix.EEXIST {
		return s.pathError("create", parentPath, err)
	}
	parent, err := openInside(s.fd, parentPath, pathFlags, 0)
	if err != nil {
		return s.pathError("open", parentPath, err)
	}
	defer unix.Close(parent)
	if err := unix.Mkdirat(parent, s.network, 0o700); err != nil && err != unix.EEXIST {
		return s.pathError("create", s.sidePath(""), err)
	}
	if s.side, err = openInside(parent, s.network, pathFlags, 0); err != nil {
		s.side = -1
		return s.pathError("open", s.sidePath(""), err)
	}
	return nil
}

// sortOut reads all records, and removes everything else. It also returns the boots that have
// directories. For a boot's request, it removes things in the place of a directory that aren't one.
func (s *Store) sortOut(boot string) (records []Record, boots []string, err error) {
	for name, err := range s.names(s.side, ".") {
		if err != nil {
			return nil, nil, err
		}
		if strings.HasPrefix(name, "@") {
			if of, ok := bootOf(name); ok && s.isDir(name) {
				boots = append(boots, of)
			} else if boot != "" && name != takenDir {
				s.remove(name)
			}
			continue
		}
		r, ok, err := s.readRecordNamed(name)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			records = append(records, r)
		} else if err := unix.Unlinkat(s.side, name, 0); err != nil && err != unix.ENOENT && err != unix.EISDIR {
			return nil, nil, s.pathError("remove", s.sidePath(name), err)
		}
	}
	return records, boots, nil
}

// endPrior ends the record of an earlier boot, if a request proves its attachment dead. A record
// that can't be ended stays.
func (s *Store) endPrior(req *Request, r *Record) (ended bool, err error) {
	if r.Boot == req.Record.Boot || !s.dead(req, r) || req.Ending != nil && req.Ending(*r) != nil {
		return false, nil
	}
	return true, s.end(r)
}

// reconcile makes the records describe the leases in held, rightly and completely, except those
// that ended ends. It returns the earlier records that stay.
func (s *Store) reconcile(records []Record, held map[Owner][]netip.Addr, ended func(*Record) (bool, error)) (kept []Record, err error) {
	for i := range records {
		r := &records[i]
		addrs := held[r.Owner]
		same := sameAddrs(r.Addrs, addrs)
		r.Addrs = addrs
		gone := len(addrs) == 0
		if gone {
			err = s.unlinkRecord(r.Owner)
		} else if gone, err = ended(r); err == nil && !gone && !same {
			err = s.writeRecord(r, true)
		}
		if err != nil {
			return nil, err
		}
		if !gone {
			kept = append(kept, *r)
		}
		delete(held, r.Owner)
	}
	for o, addrs := range held {
		err := s.writeRecord(&Record{Owner: o, Addrs: addrs}, false)
		if err != nil && !errors.Is(err, ErrInvalid) { // no request can name such an owner
			return nil, err
		}
	}
	return kept, nil
}

func sameAddrs(a, b []netip.Addr) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	order.By(a, netip.Addr.Compare)
	order.By(b, netip.Addr.Compare)
	return slices.Equal(a, b)
}

// scan reads all leases. It returns the addresses of each owner, and the leases without content.
func (s *Store) scan() (held map[Owner][]netip.Addr, empty []netip.Addr, err error) {
	held = make(map[Owner][]netip.Addr)
	for name, err := range s.names(s.fd, ".") {
		if err != nil {
			return nil, nil, err
		}
		addr, ok := parseAddr(name)
		if !ok {
			continue
		}
		l, err := s.readLease(name)
		if err != nil && err != unix.ENOENT {
			return nil, nil, s.pathError("read", name, err)
		}
		switch {
		case err != nil || l.form == foreignLease:
		case l.form == tornLease:
			empty = append(empty, addr)
		default:
			held[l.owner] = append(held[l.owner], addr)
		}
	}
	for _, addrs := range held {
		order.By(addrs, netip.Addr.Compare)
	}
	return held, empty, nil
}

// names lists a directory, in no order.
func (s *Store) names(dir int, name string) func(yield func(string, error) bool) {
	return func(yield func(string, error) bool) {
		fd, err := openInside(dir, name, dirFlags, 0)
		if err != nil {
			yield("", s.pathError("open", name, err))
			return
		}
		defer unix.Close(fd)
		buf := make([]byte, 32<<10)
		for {
			n, err := unix.ReadDirent(fd, buf)
			if err != nil {
				yield("", s.pathError("list", name, err))
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
