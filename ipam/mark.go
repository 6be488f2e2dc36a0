// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"time"

	"golang.org/x/sys/unix"
)

// The lease directory's modification time carries a mark in its nanoseconds. The mark says that the
// sidecar agrees with the leases. Its lowest bits hold four facts. They are kept here because the
// time is read and set anyway. A file of their own would cost one more system call to read in each
// Reserve, and two to write in each Release. If another program changes the directory, the mark
// goes, and the facts go with it. Then the leases are read, other MACs are taken for granted, and
// it isn't known which leases ended lately.

// markFlags are the facts that a mark tells besides agreement: two about the form of the leases,
// and two of the [History].
type markFlags int64

const (
	flagOld   markFlags = 1 << iota // some lease has host-local's old form
	flagTaken                       // the bitmap of taken addresses is kept
	flagMACs                        // History.OtherMACs
	// It's History.EndedLately, and true for lastingLately after the change of the directory.
	flagEnded
	flagBits = 4
)

// A History is a network's memory of leases that ended. It's a help, not a proof. A directory that
// another program has changed remembers no end, and takes other MACs for granted.
type History struct {
	// OtherMACs says that since the boot some owner of an address may have had a MAC that doesn't
	// follow from the address. Such an owner asked for its MAC ([Request].OtherMAC), or got its
	// lease from another program. Neighbours may then know an address by its last owner's MAC, and
	// the next owner should announce its own.
	OtherMACs bool
	// OtherMACs6 is the same for IPv6 addresses. It's also true if [Request].OtherMAC6 was set and
	// an IPv6 address has been given twice. IPv6 ranges are mostly so large that this never
	// happens: no neighbour knows a new address.
	OtherMACs6 bool
	// EndedLately says that leases ended within the last 50 ms. The kernel may then still have to
	// free the nftables elements that went with them. Closing a socket of nftables waits for that,
	// about 10 ms.
	EndedLately bool
}

// History returns the network's history. It's complete after a [Store.Reserve].
func (s *Store) History() History {
	macs := s.flags&flagMACs != 0
	return History{OtherMACs: macs, OtherMACs6: macs || s.reused, EndedLately: s.flags&flagEnded != 0}
}

// ReadHistory reads a network's history without its lock, by one stat(2), and so never waits. An
// empty dir is [DefaultDir]. OtherMACs6 isn't known without a store. A directory that can't be read
// has no history.
func ReadHistory(dir, network string) History {
	if dir == "" {
		dir = DefaultDir
	}
	var st unix.Stat_t
	if !validName(network) || unix.Stat(dir+"/"+network, &st) != nil {
		return History{}
	}
	flags, _ := readMark(&st)
	return History{OtherMACs: flags&flagMACs != 0, EndedLately: flags&flagEnded != 0}
}

// mark is the nanosecond part of the modification time that says that the sidecar agrees with the
// lease directory. It depends on the second and on the directory. So a time that the kernel set
// doesn't carry it, nor does a copy of the directory, except for one chance in 62 million. A file
// system with coarser times can't keep it. There each operation reads all leases.
func mark(sec int64, ino uint64, flags markFlags) int64 {
	x := uint64(sec)*0x9e3779b97f4a7c15 ^ ino*0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 29
	return int64(x%(1e9>>flagBits))<<flagBits | int64(flags)
}

// look reads the mark once. Under the lock nobody else changes it.
func (s *Store) look() error {
	if s.seen {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.fd, &st); err != nil {
		return s.pathError("stat", ".", err)
	}
	s.seen, s.ino = true, st.Ino
	s.flags, s.marked = readMark(&st)
	if s.marked = s.marked && s.side >= 0; !s.marked {
		s.flags = 0
	}
	return nil
}

// readMark decodes a directory's times. ok is false if they aren't a mark.
func readMark(st *unix.Stat_t) (flags markFlags, ok bool) {
	sec, nsec := int64(st.Mtim.Sec), int64(st.Mtim.Nsec)
	flags = markFlags(nsec & (1<<flagBits - 1))
	if nsec != mark(sec, st.Ino, flags) {
		return 0, false
	}
	if flags&flagEnded != 0 && time.Since(time.Unix(st.Ctim.Unix())) > lastingLately {
		flags &^= flagEnded
	}
	return flags, true
}

// lastingLately is longer than the kernel takes to free the elements of an attachment that has
// ended.
const lastingLately = 50 * time.Millisecond

// setMark says that the sidecar agrees with the leases, if it does and a change took the mark away.
// A user that may not set times works without the mark.
func (s *Store) setMark() {
	if !s.marked || !s.changed {
		return
	}
	s.changed = false
	sec := time.Now().Unix()
	times := []unix.Timespec{
		{Nsec: unix.UTIME_OMIT},
		unix.NsecToTimespec(sec*1e9 + mark(sec, s.ino, s.flags)),
	}
	_ = unix.UtimesNanoAt(s.fd, ".", times, 0)
}

// setFlag changes a fact of the next mark.
func (s *Store) setFlag(f markFlags, on bool) {
	flags := s.flags &^ f
	if on {
		flags |= f
	}
	s.changed = s.changed || flags != s.flags
	s.flags = flags
}
