// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"time"

	"golang.org/x/sys/unix"
)

// The lease directory's modification time carries a mark in its nanoseconds. The mark says that the
// sidecar agrees with the leases, and in its lowest bits four facts. They are kept here since the
// time is read and set anyway: a file of their own would be one more system call to read in each
// Reserve, and two to write in each Release. Whoever else changes the directory takes the mark
// away, and with it the facts: then the leases are read, other MACs are taken for granted, and what
// ended lately isn't known.

// markFlags are the facts that a mark tells besides agreement: two of the leases' form, and two of
// the [History].
type markFlags int64

const (
	flagOld   markFlags = 1 << iota // some lease has host-local's old form
	flagTaken                       // the bitmap of taken addresses is kept
	flagMACs                        // History.OtherMACs
	flagEnded                       // History.EndedLately, true for lastingLately after the change of the directory
	flagBits  = 4
)

// A History is what a network remembers of leases that ended. It's a help, not a proof: a directory
// that another program has changed remembers no end, and takes other MACs for granted.
type History struct {
	// OtherMACs: some owner of an address may have had, since the boot, a MAC that doesn't follow
	// from the address. It's one that asked for it ([Request].OtherMAC), or another program's.
	// Neighbours may then know an address by its last owner's MAC, and the next owner should
	// announce its own.
	OtherMACs bool
	// OtherMACs6 is the same for IPv6 addresses, and also true if [Request].OtherMAC6 was set and
	// an IPv6 address has been given twice. IPv6 ranges are mostly so large that this never
	// happens: a new address isn't known to any neighbour.
	OtherMACs6 bool
	// EndedLately: leases ended within the last 50 ms. The kernel may still be about to free the
	// nftables elements that went with them, and closing a socket of nftables then waits for it,
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

// mark is the nanosecond part of the modification time by which the lease directory says that the
// sidecar agrees with it. It depends on the second and on the directory, so that neither a time set
// by the kernel nor a copy of the directory carries it, but for one chance in 62 million. A file
// system with coarser times can't keep it: there each operation reads all leases.
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

// readMark returns what a directory's times tell; ok is false where they're no mark.
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

// setMark says that the sidecar agrees with the leases, in case it does and a change took the mark
// away. Who isn't allowed to set times works without the mark.
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

// setFlag changes what the next mark tells.
func (s *Store) setFlag(f markFlags, on bool) {
	flags := s.flags &^ f
	if on {
		flags |= f
	}
	s.changed = s.changed || flags != s.flags
	s.flags = flags
}
