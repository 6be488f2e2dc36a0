// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
)

// Limits of one datagram. The kernel answers each refused message with a datagram that quotes it.
// Answers that don't fit the socket's receive buffer (212,992 bytes, some 800 for a short answer)
// are lost. A request must fit the send buffer, which has the same size.
const (
	maxSteps = 128
	maxBytes = 64 << 10
)

// A Conn is a socket in one network namespace, for one goroutine at a time. It stays in that
// namespace whatever its threads do later. Close it.
type Conn struct {
	sock *nlsock.Socket
	// seq is the last sequence number that was sent. It's never 0, which is the number of events.
	seq    uint32
	msgs   []netlink.Message
	enc    encoder               // of requests that aren't changes
	strict bool                  // NETLINK_GET_STRICT_CHK is on
	lax    bool                  // the kernel lacks it
	event  func(netlink.Message) // hears messages that come unasked, while a group is joined

	removes bool           // a removal was left to another goroutine, and its answer wasn't awaited
	senders sync.WaitGroup // goroutines that send removals
}

// Dial opens a socket in a namespace; nil is the calling thread's. Only socket(2) runs inside. The
// system calls are socket and setsockopt. With a namespace they are also open, setns twice and
// close. A netlink.Dial takes 9, or 18. Dial doesn't wait for other programs. Its errors are those
// of the system calls.
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

// Clean reports whether a Conn is as good as a new one, for work that has nothing to do with its
// work so far: nothing has failed at its socket, and nothing waits there. It's one system call.
// While a removal is under way it has no meaning; see [Conn.Settle].
func (c *Conn) Clean() bool { return c.sock.Clean() }

// Settle calls then once no other goroutine uses the Conn any more, and returns without waiting for
// that. After a [Conn.Remove] the kernel may hold that one for some 35 ms. It's then the one that
// throws away the answer to the removal and calls then. Otherwise then is called at once. Until then is
// called the Conn mustn't be used, nor closed.
func (c *Conn) Settle(then func()) {
	if !c.removes {
		then()
		return
	}
	c.removes = false
	go func() {
		c.senders.Wait()
		c.sock.Drain()
		then()
	}()
}

// Do sends a batch and waits until the kernel has handled it. For each 128 changes it makes one
// system call to send and, if nothing is refused, one to receive. The batch can be sent again.
//
// If changes were refused, the error is a [Refused], and all others were made. If the batch holds
// something that can't be sent, the error is an [*Error] or wraps errors.ErrUnsupported, and
// nothing was sent. Any other error is the socket's, and it isn't known which changes were made.
// ENOBUFS means that the kernel handled the batch but answers were lost.
//
// Do may wait as long as other programs change links.
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
// message asks for an acknowledgement, since each acknowledgement is a datagram of its own.
// Refusals come unasked.
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
			// Any other number is an event, or a late answer to an earlier request that failed with
			// the socket's error.
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
