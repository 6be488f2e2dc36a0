// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"net"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An ifreq is struct ifreq (linux/if.h): a name and a union of 24 bytes on 64-bit machines, 16 on
// 32-bit ones. The kernel reads and writes it whole.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data [24]byte
}

// ioctl asks about a link. A netlink socket passes device requests on like any other (sock_ioctl),
// in its own namespace; they take at most RCU or a reader's lock, never RTNL.
func (c *Conn) ioctl(what string, req uintptr, r *ifreq) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(c.sock.FD()), req, uintptr(unsafe.Pointer(r)))
	if errno != 0 {
		return &Error{Change: what, Errno: errno}
	}
	return nil
}

func (c *Conn) ioctlName(noun, name string, req uintptr) (r ifreq, err error) {
	what := "get " + noun + " of link " + name
	if len(name) > maxName {
		return r, &Error{Change: what, Reason: "a link's name has at most 15 bytes", Errno: syscall.ENODEV}
	}
	copy(r.name[:], name)
	err = c.ioctl(what, req, &r)
	return r, err
}

// Index returns the index of the link with a name, by one ioctl(2) that takes no lock. An
// alternative name finds the link too. The error for a missing link is [io/fs.ErrNotExist].
func (c *Conn) Index(name string) (int, error) {
	r, err := c.ioctlName("index", name, unix.SIOCGIFINDEX)
	return int(int32(binary.NativeEndian.Uint32(r.data[:]))), err
}

// Name returns the name of the link with an index, by one ioctl(2). The error for a missing link is
// [io/fs.ErrNotExist].
func (c *Conn) Name(index int) (string, error) {
	var r ifreq
	binary.NativeEndian.PutUint32(r.data[:], uint32(index))
	if err := c.ioctl("get name of link "+strconv.Itoa(index), unix.SIOCGIFNAME, &r); err != nil {
		return "", err
	}
	a := attrs{val: r.name[:]}
	return a.str(), nil
}

// MAC returns the hardware address of the Ethernet link with a name, by one ioctl(2). The caller
// owns it. The error for a missing link is [io/fs.ErrNotExist].
func (c *Conn) MAC(name string) (net.HardwareAddr, error) {
	r, err := c.ioctlName("address", name, unix.SIOCGIFHWADDR)
	if err != nil {
		return nil, err
	}
	// struct sockaddr: family, then the address.
	return net.HardwareAddr(append([]byte(nil), r.data[2:8]...)), nil
}

// MTU returns the MTU in bytes of the link with a name, by one ioctl(2). The error for a missing
// link is [io/fs.ErrNotExist].
func (c *Conn) MTU(name string) (int, error) {
	r, err := c.ioctlName("mtu", name, unix.SIOCGIFMTU)
	return int(int32(binary.NativeEndian.Uint32(r.data[:]))), err
}

// Flags are some of a link's flags (IFF_*, linux/if.h).
type Flags struct {
	// Up is the administrative state, as [State].
	Up bool
	// Running says that the link is operationally up. It's also set if the kernel can't tell or
	// hasn't looked yet, as just after the link's birth.
	Running bool
	// Promisc says that all frames were asked for by [Link].Promisc.
	Promisc bool
}

// Flags returns the flags of the link with a name, by one ioctl(2). The error for a missing link is
// [io/fs.ErrNotExist].
func (c *Conn) Flags(name string) (Flags, error) {
	r, err := c.ioctlName("flags", name, unix.SIOCGIFFLAGS)
	f := binary.NativeEndian.Uint16(r.data[:])
	return Flags{
		Up:      f&unix.IFF_UP != 0,
		Running: f&unix.IFF_RUNNING != 0,
		Promisc: f&unix.IFF_PROMISC != 0,
	}, err
}
