// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// bootPrefix begins the name of an empty directory for each boot that the sidecar has served. A
	// reservation writes its leases there before they appear. So the first one after a boot fails,
	// without a system call just to ask.
	bootPrefix = "@boot."
	// trueSuffix ends the name of an empty directory beside it, if the boot is known to be the
	// kernel's. It's asked once a boot. So a record needs no field for it, and an older version can
	// still read the record.
	trueSuffix = ".true"
)

// isDir reports whether the sidecar has a directory of a name.
func (s *Store) isDir(name string) bool {
	var st unix.Stat_t
	err := unix.Fstatat(s.side, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// served reports whether a boot has its directory.
func (s *Store) served(boot string) bool { return s.isDir(bootPrefix + boot) }

// serve makes a boot's directory.
func (s *Store) serve(boot string) error {
	name := bootPrefix + boot
	if err := unix.Mkdirat(s.side, name, 0o700); err != nil {
		return s.pathError("create", s.sidePath(name), err)
	}
	return nil
}

// NoteBoot remembers that a boot's ID is the kernel's own, if certain says so. It calls certain
// only if that isn't known yet, and never without a sidecar. Nothing depends on success: an unknown
// ID proves less.
func (s *Store) NoteBoot(boot string, certain func() bool) {
	if boot == "" || certain == nil || s.readOnly || s.side < 0 || s.isDir(bootPrefix+boot+trueSuffix) || s.isShared() || !certain() {
		return
	}
	_ = unix.Mkdirat(s.side, bootPrefix+boot+trueSuffix, 0o700)
}

// bootOf is the reverse of the names of a boot's directories.
func bootOf(name string) (boot string, ok bool) {
	boot, ok = strings.CutPrefix(name, bootPrefix)
	return strings.TrimSuffix(boot, trueSuffix), ok
}

// forgetBoots removes the directories of boots that left no record, except the current one's.
func (s *Store) forgetBoots(boots []string, boot string, records []Record) {
	for _, b := range boots {
		left := func(r Record) bool { return r.Boot == b }
		if b != boot && !slices.ContainsFunc(records, left) {
			s.remove(bootPrefix + b)
			s.remove(bootPrefix + b + trueSuffix)
		}
	}
}

// Witness sets TrueBoot and Shared, which a record's text doesn't have, for a caller that judges by
// a record from [Store.Lookup].
func (s *Store) Witness(r *Record) {
	if r.Boot == "" || s.side < 0 {
		return
	}
	if s.trueBoots == nil {
		s.trueBoots, s.shared = map[string]bool{}, s.isShared()
	}
	known, asked := s.trueBoots[r.Boot]
	if !asked {
		known = s.isDir(bootPrefix + r.Boot + trueSuffix)
		s.trueBoots[r.Boot] = known
	}
	r.TrueBoot, r.Shared = known, s.shared
}

// Types of file systems that several hosts can use at once, by statfs(2), beyond those of
// x/sys/unix.
const (
	magicCeph   = 0x00c36400 // fs/ceph/super.h
	magicGFS2   = 0x01161970 // linux/gfs2_ondisk.h
	magicLustre = 0x0bd00bd0 // lustre_user.h
	magicGPFS   = 0x47504653 // statfs(2)
)

// isShared reports whether other hosts may use the directory too. If that isn't known, they may.
func (s *Store) isShared() bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(s.fd, &fs) != nil {
		return true
	}
	switch uint32(fs.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.V9FS_MAGIC,
		unix.FUSE_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
		magicCeph, magicGFS2, magicLustre, magicGPFS:
		return true
	}
	return false
}
