// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The old iptables, iptables-legacy, keeps its rules in tables of x_tables, beside nf_tables. Each
// of the two may drop packets that the other accepts. Only the rules of the old one are read here.

// Numbers of its calls (linux/netfilter_ipv4/ip_tables.h; those of IPv6 are the same).
const (
	legacyGetInfo    = 64
	legacyGetEntries = 65
)

// A LegacyTable is a table of iptables-legacy as it was read. It doesn't change any more.
type LegacyTable struct {
	name    string
	family  portFamily
	forward int    // where its chain FORWARD begins
	entries []byte // struct ipt_entry or ip6t_entry, one behind the other
}

func (t *LegacyTable) String() string {
	return pick(t.family, "iptables", "ip6tables") + "-legacy " + t.name
}

// ReadLegacy reads a table of iptables-legacy, of the family that an address has. It returns nil
// without an error if there is none. It loads no module, and makes no table: a file lists the
// tables. The error is that of a system call, or [ErrInterrupted].
func ReadLegacy(name string, of netip.Addr) (*LegacyTable, error) {
	f := familyOf(of)
	if has, err := hasLegacy(pick(f, "/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"), name); !has || err != nil {
		return nil, err
	}
	fd, err := unix.Socket(pick(f, unix.AF_INET, unix.AF_INET6), unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	for range maxTries {
		t, err := readLegacy(fd, name, f)
		// EAGAIN: another program changed it between the two questions.
		if err != unix.EAGAIN {
			return t, os.NewSyscallError("getsockopt", err)
		}
	}
	return nil, ErrInterrupted
}

// hasLegacy looks for a table's name in the file in which the kernel lists them. The file doesn't
// exist without x_tables.
func hasLegacy(path, name string) (bool, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT || err == unix.EACCES {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var b [256]byte // a line for each of at most 5 tables
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return false, &os.PathError{Op: "read", Path: path, Err: err}
	}
	for line := range strings.SplitSeq(string(b[:n]), "\n") {
		if line == name {
			return true, nil
		}
	}
	return false, nil
}

// readLegacy asks for struct ipt_getinfo, which tells the size, and for struct ipt_get_entries.
func readLegacy(fd int, name string, f portFamily) (*LegacyTable, error) {
	const nameLen, hooksAt, sizeAt, infoLen, headLen = 32, 36, 80, 84, 40
	info := make([]byte, infoLen)
	copy(info[:nameLen-1], name)
	if err := getLegacy(fd, f, legacyGetInfo, info); err != nil {
		return nil, err
	}
	size := binary.NativeEndian.Uint32(info[sizeAt:])
	all := make([]byte, headLen+size)
	copy(all, info[:nameLen])
	binary.NativeEndian.PutUint32(all[nameLen:], size)
	if err := getLegacy(fd, f, legacyGetEntries, all); err != nil {
		return nil, err
	}
	t := &LegacyTable{name: name, family: f, forward: -1, entries: all[headLen:]}
	if valid := binary.NativeEndian.Uint32(info[nameLen:]); valid&(1<<unix.NF_INET_FORWARD) != 0 {
		t.forward = int(binary.NativeEndian.Uint32(info[hooksAt+4*unix.NF_INET_FORWARD:]))
	}
	return t, nil
}

// getLegacy is getsockopt(2) into bytes.
func getLegacy(fd int, f portFamily, option int, b []byte) error {
	n := uint32(len(b))
	level := pick(f, unix.SOL_IP, unix.SOL_IPV6)
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Chains are the names of the user-defined chains.
func (t *LegacyTable) Chains() (names []string) {
	if t == nil {
		return nil
	}
	for e := range t.from(0) {
		if name := e.target; name == "ERROR" {
			chain, _, _ := bytes.Cut(e.info, []byte{0})
			names = append(names, string(chain))
		}
	}
	if len(names) > 0 {
		names = names[:len(names)-1] // the last one, called ERROR, ends the table
	}
	return names
}

// Stops reports whether the table is sure to drop a packet that the host forwards.
func (t *LegacyTable) Stops(p Packet) bool {
	if t == nil || t.forward < 0 || p.family() != t.family {
		return false
	}
	w := newWalk(func(chain string) []step {
		at, _ := strconv.Atoi(chain) // our own
		return t.steps(at, &p)
	})
	return !w.chain(strconv.Itoa(t.forward), false).accepts
}

// steps are the rules from one on, to the end of its chain. The last rule of a chain matches
// everything.
func (t *LegacyTable) steps(at int, p *Packet) (list []step) {
	for e := range t.from(at) {
		if e.target == "ERROR" {
			break
		}
		s := e.step(p)
		list = append(list, s)
		if s.match == yes && s.does != goesOn && s.does != jumps {
			break
		}
	}
	return list
}

// ContainerChains are the chains that the CNI project's plugins made for one container each, for
// ports and masquerade. This package removes neither them nor the rules that lead to them.
func (t *LegacyTable) ContainerChains() (names []string) {
	for _, name := range t.Chains() {
		if strings.HasPrefix(name, referencePrefix) && len(name) == iptablesChainLen {
			names = append(names, name)
		}
	}
	return names
}

// ContainerChains are the names of the chains in iptables that the CNI project's plugins make for
// an owner's container.
func ContainerChains(o Owner) []string {
	return []string{iptablesChain(referencePrefix, o), iptablesChain(referenceDNATFor, o)}
}
