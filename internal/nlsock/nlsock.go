// SPDX-License-Identifier: Apache-2.0

// Package nlsock is a blocking netlink socket that costs two system calls to open.
//
// netlink.Dial registers its socket with the runtime's poller, learns its port and sets options: nine
// system calls, eighteen and often a thread with Config.NetNS. A plugin sends three batches in its
// life, so a [Socket] leaves all that out: socket(2) in the calling thread's network namespace, one
// setsockopt(2) for the kernel's own error texts. It implements netlink.Socket, so that netlink.NewConn
// brings its Conn, Message and Attribute code.
package nlsock

import (
	"context"
	"encoding/binary"
	"iter"
	"os"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/inside"
	"golang.org/x/sys/unix"
)

// headerLen is the size of struct nlmsghdr (linux/netlink.h).
const headerLen = 16

// receiveLen holds any reply of a doit handler (NLMSG_GOODSIZE, linux/netlink.h), and is what the kernel aims a dump's
// datagrams at. More would speed up listings alone, and cost a fresh process page faults.
const receiveLen = 8 << 10

// A Socket is a blocking netlink socket. It stays in the network namespace where it was opened,
// whatever its threads do later. One goroutine at a time may send and receive.
type Socket struct {
	fd      int
	send    []byte
	receive []byte
}

// Open opens a socket of a netlink protocol (unix.NETLINK_ROUTE, …) in the calling thread's network namespace.
// The kernel binds it at its first send.
func Open(protocol int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	return open(fd), nil
}

// OpenInside is Open in the network namespace of a descriptor, where it also writes files.
func OpenInside(ctx context.Context, ns, protocol int, writes []inside.Write) (*Socket, error) {
	fd, err := inside.Socket(ctx, ns, protocol, writes)
	if err != nil {
		return nil, err
	}
	return open(fd), nil
}

func open(fd int) *Socket {
	// Old kernels lack the option (4.12 brought it) and then just send no text.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &Socket{fd: fd}
}

// FD returns the descriptor, which the Socket goes on to own: for ioctl(2) and setsockopt(2).
func (s *Socket) FD() int { return s.fd }

// Close closes the socket. A second Close returns an error and touches nothing.
func (s *Socket) Close() error {
	fd := s.fd
	s.fd = -1
	return os.NewSyscallError("close", unix.Close(fd))
}

// SetReceiveTimeout bounds each receive; 0 is no bound. A receive that takes longer returns EAGAIN.
func (s *Socket) SetReceiveTimeout(d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
}

// JoinGroup subscribes to a multicast group (RTNLGRP_LINK, …).
func (s *Socket) JoinGroup(group int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group))
}

// LeaveGroup ends a subscription. What was received before stays in the queue.
func (s *Socket) LeaveGroup(group int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, group))
}

// SetStrict asks the kernel to honour the filters in a dump's header (NETLINK_GET_STRICT_CHK, 4.20).
func (s *Socket) SetStrict() error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1))
}

// Send sends one message.
func (s *Socket) Send(m netlink.Message) error { return s.SendMessages([]netlink.Message{m}) }

// SendMessages sends messages in one datagram, so that the kernel handles them in one system call.
func (s *Socket) SendMessages(ms []netlink.Message) error {
	b := s.send[:0]
	if b == nil {
		b = make([]byte, 0, 512) // a batch of an attachment
	}
	for _, m := range ms {
		b = binary.NativeEndian.AppendUint32(b, uint32(headerLen+len(m.Data)))
		b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Type))
		b = binary.NativeEndian.AppendUint16(b, uint16(m.Header.Flags))
		b = binary.NativeEndian.AppendUint32(b, m.Header.Sequence)
		b = binary.NativeEndian.AppendUint32(b, m.Header.PID)
		b = append(b, m.Data...)
		for len(b)%unix.NLMSG_ALIGNTO != 0 {
			b = append(b, 0)
		}
	}
	s.send = b
	for {
		err := unix.Send(s.fd, b, 0) // to the kernel, where a socket that isn't connected goes
		if err != unix.EINTR {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// Receive receives one datagram. Its messages share the Socket's buffer until the next receive.
func (s *Socket) Receive() ([]netlink.Message, error) {
	var ms []netlink.Message
	for m, err := range s.ReceiveIter() {
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// ReceiveIter receives one datagram and ranges over its messages. Their data is a copy.
func (s *Socket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		b, err := s.receiveDatagram()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		b = append([]byte(nil), b...)
		for len(b) > 0 {
			m, rest, err := Parse(b)
			if !yield(m, err) || err != nil {
				return
			}
			b = rest
		}
	}
}

func (s *Socket) receiveDatagram() ([]byte, error) {
	if s.receive == nil {
		s.receive = make([]byte, receiveLen)
	}
	for {
		n, err := s.Recv(s.receive, 0)
		switch err {
		case nil:
			return s.receive[:n], nil
		case unix.EINTR:
		default:
			return nil, os.NewSyscallError("recvfrom", err)
		}
	}
}

// Recv is recv(2): it receives one datagram without asking who sent it, since the kernel alone sends to a socket that
// isn't bound by name, and returns the plain errno.
func (s *Socket) Recv(b []byte, flags int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Drain throws away what's queued. After a receive's ENOBUFS it has to: until the queue has been empty, the kernel
// drops further answers without a word (NETLINK_S_CONGESTED), and to wait for one could be for ever.
func (s *Socket) Drain() {
	var b [1]byte
	for {
		_, err := s.Recv(b[:], unix.MSG_DONTWAIT)
		if err != nil && err != unix.EINTR && err != unix.ENOBUFS {
			return
		}
	}
}

// Parse takes the first message off a datagram. A refusal quotes the refused message whole, so a large one
// doesn't fit the buffer: its number is kept and what was cut, the kernel's text, is given up. Any other
// message that is cut, or a header that lies about its length, is an error.
func Parse(b []byte) (m netlink.Message, rest []byte, err error) {
	if len(b) < headerLen {
		return m, nil, unix.EBADMSG
	}
	n := int(binary.NativeEndian.Uint32(b))
	m.Header = netlink.Header{
		Length:   uint32(n),
		Type:     netlink.HeaderType(binary.NativeEndian.Uint16(b[4:])),
		Flags:    netlink.HeaderFlags(binary.NativeEndian.Uint16(b[6:])),
		Sequence: binary.NativeEndian.Uint32(b[8:]),
		PID:      binary.NativeEndian.Uint32(b[12:]),
	}
	switch {
	case n < headerLen:
		return m, nil, unix.EBADMSG
	case n > len(b) && m.Header.Type == netlink.Error && len(b) >= headerLen+4:
		m.Header.Flags &^= netlink.AcknowledgeTLVs
		m.Data = b[headerLen:]
		return m, nil, nil
	case n > len(b):
		return m, nil, unix.EMSGSIZE
	}
	m.Data = b[headerLen:n]
	return m, b[min(aligned(n), len(b)):], nil
}
