// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"math/bits"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	// takenDir holds the bitmap of taken addresses: a file for each block that ever had a lease,
	// named by the block's first address.
	takenDir   = "@taken"
	blockBits  = 15 // addresses of a block, as a power of two
	blockBytes = 1 << blockBits / 8
)

// The bitmap finds the next free address of a nearly full range without asking for each. It exists
// from the first reservation that met a run of taken addresses until another program changes the
// leases. While the mark says that it's kept, every change here is written to it.

type block [blockBytes]byte

func (b *block) set(i int) { b[i/8] |= 1 << (i % 8) }

// free returns the first clear bit in [from, to], or -1.
func (b *block) free(from, to int) int {
	for i := from; i <= to; {
		open := ^b[i/8] >> (i % 8)
		if open != 0 {
			if i += bits.TrailingZeros8(open); i <= to {
				return i
			}
			return -1
		}
		i += 8 - i%8
	}
	return -1
}

// blockOf returns the first address of a's block and a's place in it.
func blockOf(a netip.Addr) (netip.Addr, int) {
	p, _ := a.Prefix(a.BitLen() - blockBits)
	return p.Addr(), placeOf(a)
}

func placeOf(a netip.Addr) int {
	if a.Is4() {
		b := a.As4()
		return (int(b[2])<<8 | int(b[3])) & (1<<blockBits - 1)
	}
	b := a.As16()
	return (int(b[14])<<8 | int(b[15])) & (1<<blockBits - 1)
}

// at returns the address at a place of base's block.
func at(base netip.Addr, place int) netip.Addr {
	if base.Is4() {
		b := base.As4()
		b[2], b[3] = b[2]|byte(place>>8), byte(place)
		return netip.AddrFrom4(b)
	}
	b := base.As16()
	b[14], b[15] = b[14]|byte(place>>8), byte(place)
	return netip.AddrFrom16(b)
}

func takenPath(base netip.Addr) string { return takenDir + "/" + base.String() }

// setTaken notes an address's lease or its end, if the bitmap is kept. A bitmap that can't be
// written is given up.
func (s *Store) setTaken(a netip.Addr, taken bool) error {
	if s.flags&flagTaken == 0 {
		return nil
	}
	base, place := blockOf(a)
	fd, err := openInside(s.side, takenPath(base), unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		s.setFlag(flagTaken, false)
		return nil
	}
	defer unix.Close(fd)
	var b [1]byte
	off := int64(place / 8)
	if _, err := unix.Pread(fd, b[:], off); err != nil {
		s.setFlag(flagTaken, false)
		return nil
	}
	bit := byte(1) << (place % 8)
	b[0] &^= bit
	if taken {
		b[0] |= bit
	}
	if n, err := unix.Pwrite(fd, b[:], off); err != nil || n != 1 {
		s.setFlag(flagTaken, false)
	}
	return nil
}

// nextFree returns the first address of [from, to] that the bitmap shows free.
func (s *Store) nextFree(from, to netip.Addr) (netip.Addr, bool, error) {
	for {
		base, place := blockOf(from)
		end := 1<<blockBits - 1
		last, lastPlace := blockOf(to)
		if base == last {
			end = lastPlace
		}
		b, err := s.readBlock(base)
		if err != nil {
			return netip.Addr{}, false, err
		}
		if i := b.free(place, end); i >= 0 {
			return at(base, i), true, nil
		}
		if base == last {
			return netip.Addr{}, false, nil
		}
		from = at(base, end).Next()
	}
}

// readBlock reads a block of the bitmap. A missing one has no lease in it.
func (s *Store) readBlock(base netip.Addr) (*block, error) {
	b := new(block)
	fd, err := openInside(s.side, takenPath(base), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return b, nil
	}
	if err != nil {
		return nil, s.pathError("open", s.sidePath(takenPath(base)), err)
	}
	defer unix.Close(fd)
	if _, err := unix.Pread(fd, b[:], 0); err != nil {
		return nil, s.pathError("read", s.sidePath(takenPath(base)), err)
	}
	return b, nil
}

// keepTaken makes the bitmap from the names of all leases, unless it's kept already.
func (s *Store) keepTaken() error {
	if s.flags&flagTaken != 0 {
		return nil
	}
	if err := s.emptyTaken(); err != nil {
		return err
	}
	blocks := make(map[netip.Addr]*block)
	for name, err := range s.names(s.fd, ".") {
		if err != nil {
			return err
		}
		if a, ok := parseAddr(name); ok {
			base, place := blockOf(a)
			if blocks[base] == nil {
				blocks[base] = new(block)
			}
			blocks[base].set(place)
		}
	}
	for base, b := range blocks {
		if err := s.writeBlock(base, b); err != nil {
			return err
		}
	}
	s.setFlag(flagTaken, true)
	return nil
}

// emptyTaken makes the bitmap's directory, or removes all blocks from it.
func (s *Store) emptyTaken() error {
	if err := unix.Mkdirat(s.side, takenDir, 0o700); err != nil && err != unix.EEXIST {
		return s.pathError("create", s.sidePath(takenDir), err)
	}
	dir, err := openInside(s.side, takenDir, pathFlags, 0)
	if err != nil {
		return s.pathError("open", s.sidePath(takenDir), err)
	}
	defer unix.Close(dir)
	for name, err := range s.names(dir, ".") {
		if err != nil {
			return err
		}
		_ = unix.Unlinkat(dir, name, 0)
	}
	return nil
}

func (s *Store) writeBlock(base netip.Addr, b *block) error {
	name := takenPath(base)
	fd, err := openInside(s.side, name, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return s.pathError("create", s.sidePath(name), err)
	}
	defer unix.Close(fd)
	n, err := unix.Write(fd, b[:])
	if err == nil && n < len(b) {
		err = unix.ENOSPC
	}
	if err != nil {
		return s.pathError("write", s.sidePath(name), err)
	}
	return nil
}
