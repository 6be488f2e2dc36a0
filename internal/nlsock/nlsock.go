// SPDX-License-Identifier: Apache-2.0

// Package nlsock is a blocking netlink socket that costs two system calls to open.
//
// netlink.Dial registers its socket with the runtime's poller, learns its port and sets options.
// That is nine system calls, or eighteen and often a thread with Config.NetNS. A plugin sends three
// batches in its life, so a [Socket] leaves all that out. It's one socket(2) in the calling
// thread's network namespace, and one setsockopt(2) for the kernel's own error texts. It implements
// netlink.Socket, so netlink.NewConn adds its Conn, Message and Attribute code.
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

// receiveLen holds any reply of a doit handler (NLMSG_GOODSIZE, linux/netlink.h), and is the size
// that the kernel aims at for a dump's datagrams. More would speed up only listings, and cost a
// fresh process page faults.
const receiveLen = 8 << 10

// A Socket is a blocking netlink socket. It stays in the network namespace in which it was opened,
// whatever its threads do later. One goroutine at a time may send and receive.
type Socket struct {
	fd      int
	send    []byte
	receive []byte
	failed  bool // something has, so that answers may be lost or late
}

// Open opens a socket of a netlink protocol (unix.NETLINK_ROUTE, …) in the calling thread's network
// namespace. The kernel binds it at its first send.
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
	// Kernels before 4.12 lack the option and then send no text.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return &Socket{fd: fd}
}

// FD returns the descriptor for ioctl(2) and setsockopt(2). The Socket still owns it.
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

// LeaveGroup ends a subscription. Messages that were received before stay in the queue.
func (s *Socket) LeaveGroup(group int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, group))
}

// SetStrict asks the kernel to honour the filters in a dump's header (NETLINK_GET_STRICT_CHK,
// 4.20).
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
		err := unix.Send(s.fd, b, 0) // to the kernel, the peer of a socket that isn't connected
		if err != unix.EINTR {
			s.failed = s.failed || err != nil
			return os.NewSyscallError("sendto", err)
		}
	}
}

// Receive receives one datagram. Its messages' data is a copy.
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
		b, err := s.Datagram()
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

// Datagram receives one datagram, for [Parse]. It's in the Socket's buffer until the next receive.
func (s *Socket) Datagram() ([]byte, error) {
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

// Recv is recv(2). It receives one datagram and returns the plain errno. It doesn't ask for the
// sender: only the kernel sends to a socket that isn't bound by name.
func (s *Socket) Recv(b []byte, flags int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(s.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(flags), 0, 0)
	if errno != 0 {
		none := errno == unix.EAGAIN && flags&unix.MSG_DONTWAIT != 0 || errno == unix.EINTR
		s.failed = s.failed || !none
		return 0, errno
	}
	return int(n), nil
}

// mostKept bounds the buffers of a socket that's used again.
const mostKept = 64 << 10

// Clean reports whether the socket is as good as a new one: nothing has failed at it, a receive's
// timeout included, nothing waits there, and its buffers haven't grown large. It's one system call.
func (s *Socket) Clean() bool {
	if s.failed || cap(s.send) > mostKept {
		return false
	}
	var b [1]byte
	_, err := s.Recv(b[:], unix.MSG_DONTWAIT|unix.MSG_PEEK)
	return err == unix.EAGAIN
}

// Drain throws away the queued messages. It must be called after a receive's ENOBUFS. Until the
// queue has been empty, the kernel silently drops further answers (NETLINK_S_CONGESTED), and a wait
// for one could last for ever.
func (s *Socket) Drain() {
	var b [1]byte
	for {
		_, err := s.Recv(b[:], unix.MSG_DONTWAIT)
		if err != nil && err != unix.EINTR && err != unix.ENOBUFS {
			return
		}
	}
}

// Parse takes the first message off a datagram. A refusal quotes the whole refused message, so a
// large one doesn't fit the buffer. Its number is kept, and the cut part, the kernel's text, is
// lost. Any other message that is cut, or a header with a wrong length, is an error.
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
