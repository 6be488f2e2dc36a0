// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
)

// Limits of one datagram. The kernel answers each refused message with a datagram that quotes it,
// and what doesn't fit the socket's receive buffer (212,992 bytes, some 800 a short answer) is
// lost; what's sent must fit the send buffer of the same size.
const (
	maxSteps = 128
	maxBytes = 64 << 10
)

// A Conn is a socket in one network namespace, for one goroutine at a time. It stays in that
// namespace whatever its threads do later. Close it.
type Conn struct {
	sock *nlsock.Socket
	nl   *netlink.Conn // see netlink
	// seq is the last sequence number that was sent. 0 never is: it's that of events.
	seq    uint32
	msgs   []netlink.Message
	enc    encoder               // of requests that aren't changes
	strict bool                  // NETLINK_GET_STRICT_CHK is on
	event  func(netlink.Message) // while a group is joined: what comes unasked
}

// Dial opens a socket in a namespace; nil is the calling thread's. Only socket(2) runs inside: the
// system calls are socket and setsockopt, with a namespace also open, setns twice and close. A
// netlink.Dial takes 9, or 18. Nothing in it waits for other programs. Errors are those of the
// system calls.
func Dial(ns *NetNS) (*Conn, error) {
	var sock *nlsock.Socket
	var err error
	if ns == nil {
		sock, err = nlsock.Open(unix.NETLINK_ROUTE)
	} else {
		sock, err = nlsock.OpenInside(context.Background(), ns.fd, unix.NETLINK_ROUTE, nil)
	}
	return dialed(sock, err)
}

func dialed(sock *nlsock.Socket, err error) (*Conn, error) {
	if err != nil {
		return nil, fmt.Errorf("rtnl: dial: %w", err)
	}
	return &Conn{sock: sock}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return c.sock.Close() }

// Do sends a batch and waits until the kernel has handled it: one system call to send and, when
// nothing is refused, one to receive, for each 128 changes. The batch can be sent again.
//
// If changes were refused, the error is a [Refused], and all others were made. If the batch holds
// something that can't be sent, it's an [*Error] or wraps errors.ErrUnsupported, and nothing was
// sent. Any other error is the socket's: which changes were made isn't known then. ENOBUFS among
// them means that the kernel handled the batch but answers were lost.
func (c *Conn) Do(b *Batch) error {
	if err := b.invalid(); err != nil {
		return err
	}
	var refused Refused
	for first := 0; first < len(b.steps); {
		next, err := c.send(b, first)
		if err != nil {
			return fmt.Errorf("rtnl: %w", err)
		}
		if refused, err = c.answers(b, first, next, refused); err != nil {
			return fmt.Errorf("rtnl: %w", err)
		}
		first = next
	}
	if refused != nil {
		return refused
	}
	return nil
}

// send sends a datagram of steps from first on, and returns the step after its last. Only the last
// message asks for an acknowledgement, since each is a datagram of its own; refusals come unasked.
func (c *Conn) send(b *Batch, first int) (next int, err error) {
	c.msgs = c.msgs[:0]
	size := 0
	for next = first; next < len(b.steps) && next-first < maxSteps; next++ {
		m := b.message(next)
		if size += len(m); size > maxBytes && next > first {
			break
		}
		c.msgs = append(c.msgs, request(m))
	}
	c.msgs[len(c.msgs)-1].Header.Flags |= netlink.Acknowledge
	if c.seq+uint32(len(c.msgs)) < c.seq {
		c.seq = 0
	}
	for i := range c.msgs {
		c.seq++
		c.msgs[i].Header.Sequence = c.seq
	}
	return next, c.sock.SendMessages(c.msgs)
}

// answers receives until the last of the steps from first up to next is answered, and appends the
// refusals.
func (c *Conn) answers(b *Batch, first, next int, refused Refused) (Refused, error) {
	start := c.seq - uint32(next-first) + 1
	for {
		ms, err := c.sock.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			c.sock.Drain()
			return refused, fmt.Errorf("answers were lost, the changes may have been made: %w", err)
		}
		if err != nil {
			return refused, err
		}
		for _, m := range ms {
			// Any other number is a late answer to an earlier request, which failed with the
			// socket's error, or an event.
			step := m.Header.Sequence - start
			if m.Header.Type != netlink.Error || step >= uint32(next-first) {
				continue
			}
			if errno, reason := nlsock.Answer(m); errno != 0 {
				step := first + int(step)
				refused = append(refused, &Error{Change: b.change(step), Step: step, Reason: reason, Errno: errno})
			}
			if m.Header.Sequence == c.seq {
				return refused, nil
			}
		}
	}
}

// netlink returns the socket as a netlink.Conn, for what isn't on an attachment's path: to make one
// seeds a random number generator, which takes 10 us and 4 page faults.
func (c *Conn) netlink() *netlink.Conn {
	if c.nl == nil {
		c.nl = netlink.NewConn(c.sock, 0)
	}
	return c.nl
}

// request splits an encoded message as netlink.Conn wants it.
func request(m []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(nativeUint16(m[4:])),
			Flags: netlink.HeaderFlags(nativeUint16(m[6:])),
		},
		Data: m[unix.NLMSG_HDRLEN:],
	}
}

// refusal makes an Error of netlink's.
func refusal(change string, step int, op *netlink.OpError) *Error {
	e := &Error{Change: change, Step: step, Reason: op.Message}
	if errno, ok := as[syscall.Errno](op.Err); ok {
		e.Errno = errno
	}
	return e
}
