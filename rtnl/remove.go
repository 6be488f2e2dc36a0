// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/nlsock"
	"github.com/swiftcni/swiftcni/internal/offload"
	"golang.org/x/sys/unix"
)

// sendCheck is how often a removal looks whether its sender failed. Nothing else would tell.
const sendCheck = time.Second

// Remove deletes a link. It returns as soon as the link is gone from its namespace, with its name
// and index free, and doesn't wait until its memory is free. The kernel unlists a veth within a
// millisecond or so, and tells that to its listeners (RTNLGRP_LINK). It holds the sender in its
// system call for an RCU barrier of 15 to 35 ms more. So Remove listens while another goroutine
// sends. The error for a missing link is [io/fs.ErrNotExist].
//
// The sender's thread is in the kernel for a while after Remove has returned. A process that exits
// then waits for it. The conn can be used and closed meanwhile. If other programs change links,
// Remove waits for as long as they take. Once ctx is done, it gives up within a second, with ctx's
// error, and the link goes all the same. After a second without an answer Remove sends the message
// once more by itself, and ctx doesn't end that send. If there's no answer to that either, the
// error is [os.ErrDeadlineExceeded].
func (c *Conn) Remove(ctx context.Context, index int) error { return c.remove(ctx, index, c, nil) }

// RemoveBy is [Conn.Remove], but for the message, which another conn sends from its own namespace.
// So no socket of the link's namespace is held for longer than RemoveBy takes. ns is the link's
// namespace, to which the other's gives a number if it has none yet (RTM_NEWNSID, Linux 4.0;
// IFLA_TARGET_NETNSID, Linux 4.15).
func (c *Conn) RemoveBy(ctx context.Context, from *Conn, ns *NetNS, index int) error {
	number, err := from.numberOf(ns)
	if err != nil {
		return err
	}
	return c.remove(ctx, index, from, &number)
}

// Number gives a namespace a number in the conn's, if it has none yet, so that
// [Conn.LinksEverywhere] and [Conn.RemoveEverywhere] find it (RTM_NEWNSID, Linux 4.0). It lasts for
// as long as both. Errors: [*Error].
func (c *Conn) Number(ns *NetNS) error {
	c.aboutNumber(unix.RTM_NEWNSID, unix.NLM_F_ACK, ns)
	c.enc.u32(unix.NETNSA_NSID, ^uint32(0)) // whichever is free
	err := c.ask("number a namespace", func([]byte) error { return nil })
	if e, ok := as[*Error](err); ok && e.Errno == unix.EEXIST {
		return nil
	}
	return err
}

// RemoveEverywhere deletes links of all namespaces that have a number in the conn's, for which gone
// is true. The conn's own has one only if [Conn.Number] gave it. It waits until they are gone.
// Errors: [*Error], [Refused], [ErrInterrupted].
func (c *Conn) RemoveEverywhere(f LinkFilter, gone func(Link) bool) error {
	numbers, err := c.netNSNumbers()
	if err != nil {
		return err
	}
	var b Batch
	for _, number := range numbers {
		links, err := c.linksIn(&number, f)
		if e, ok := as[*Error](err); ok && e.Errno == unix.EINVAL {
			continue // it's dying
		}
		if err != nil {
			return err
		}
		for _, l := range links {
			if gone(l.Link) {
				b.deleteIn(l.Index, number)
			}
		}
	}
	if len(b.steps) == 0 {
		return nil
	}
	err = c.Do(&b)
	refused, ok := as[Refused](err)
	if !ok {
		return err
	}
	refused = slices.DeleteFunc(refused, func(e *Error) bool { return e.Errno == unix.EINVAL }) // its namespace has died since the listing
	if len(refused) == 0 {
		return nil
	}
	return refused
}

func (c *Conn) aboutNumber(typ, flags uint16, ns *NetNS) {
	c.enc.buf = c.enc.buf[:0]
	c.enc.begin(typ, unix.NLM_F_REQUEST|flags)
	c.enc.fixed(unix.AF_UNSPEC, 0, 0, 0) // struct rtgenmsg
	c.enc.u32(unix.NETNSA_FD, uint32(ns.fd))
}

// numberOf returns the number that the conn's namespace has given to another, or gives it one.
func (c *Conn) numberOf(ns *NetNS) (number int32, err error) {
	if err := c.Number(ns); err != nil {
		return 0, err
	}
	return c.askNumber(ns)
}

// askNumber returns the number that the conn's namespace has given to another or to itself, -1 for
// none.
func (c *Conn) askNumber(ns *NetNS) (number int32, err error) {
	number = -1
	c.aboutNumber(unix.RTM_GETNSID, 0, ns)
	err = c.ask("get the number of a namespace", func(data []byte) error {
		a := attrs{rest: data[min(len(data), sizeofRtGenmsg):]}
		for a.next() {
			if a.typ == unix.NETNSA_NSID {
				number = int32(a.u32())
			}
		}
		return a.err
	})
	return number, err
}

// remove has from send the message, for the namespace that has a number there; nil is its own.
func (c *Conn) remove(ctx context.Context, index int, from *Conn, number *int32) error {
	if index <= 0 {
		return &Error{Change: fmt.Sprintf("delete link %d", index), Errno: unix.ENODEV}
	}
	if err := c.sock.JoinGroup(unix.RTNLGRP_LINK); err != nil {
		return fmt.Errorf("rtnl: remove link: %w", err)
	}
	if err := c.sock.SetReceiveTimeout(sendCheck); err != nil {
		return fmt.Errorf("rtnl: remove link: %w", err)
	}
	failed := make(chan error, 1)
	send := offload.SenderOf(ctx)
	if send == nil {
		send = func(fd int, message []byte) error {
			from.removes = true
			from.senders.Add(1)
			go func() {
				defer from.senders.Done()
				failed <- unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
			}()
			return nil
		}
	}
	var b Batch
	b.Delete(Link{Index: index})
	message := c.removal(&b)
	first := message
	if number != nil {
		b.Reset()
		b.deleteIn(index, *number)
		first = from.removal(&b)
	}
	err := send(from.sock.FD(), first)
	if err == nil {
		err = c.awaitGone(ctx, index, message, failed)
	}
	if e, ok := as[*Error](err); ok {
		e.Change = b.change(0)
	} else if err != nil {
		err = fmt.Errorf("rtnl: remove link: %w", err)
	}
	if leave := errors.Join(c.sock.LeaveGroup(unix.RTNLGRP_LINK), c.sock.SetReceiveTimeout(0)); err == nil {
		err = leave
	}
	return err
}

// deleteIn appends the removal of a link of the namespace that has a number.
func (b *Batch) deleteIn(index int, number int32) {
	b.begin(unix.RTM_DELLINK, remove.flags())
	l := Link{Index: index}
	l.header(b, unix.AF_UNSPEC)
	b.enc.u32(unix.IFLA_TARGET_NETNSID, uint32(number))
	b.end()
}

// removal completes the bytes of a batch's only message. It gets a number, and asks for an
// acknowledgement in case the event is lost.
func (c *Conn) removal(b *Batch) []byte {
	if c.seq++; c.seq == 0 {
		c.seq = 1
	}
	m := append([]byte(nil), b.message(0)...)
	binary.NativeEndian.PutUint16(m[6:], binary.NativeEndian.Uint16(m[6:])|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(m[8:], c.seq)
	return m
}

// awaitGone receives until the link is unlisted, or its removal refused. If a sender has failed
// that can't tell, the message is sent once more from here. The removal of a link that is gone is
// refused, and that of a link that is going waits.
func (c *Conn) awaitGone(ctx context.Context, index int, message []byte, failed <-chan error) error {
	for sent := false; ; {
		b, err := c.sock.Datagram()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// There were too many events, so ask.
			c.sock.Drain()
			if c.isUnlisted(index) {
				return nil
			}
			continue
		case errors.Is(err, unix.EAGAIN):
			select {
			case err = <-failed:
			default:
				err = nil
			}
			if err != nil || c.isUnlisted(index) {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if sent {
				return os.ErrDeadlineExceeded
			}
			sent = true
			if err := unix.Sendto(c.sock.FD(), message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		for len(b) > 0 {
			m, rest, err := nlsock.Parse(b)
			if err != nil {
				return err
			}
			if isGone(m, index) {
				return nil
			}
			// Another number is an event's, or that of another removal, whose answer is late.
			if m.Header.Type == netlink.Error && m.Header.Sequence == c.seq {
				if errno, reason := nlsock.Answer(m); errno != 0 {
					return &Error{Reason: reason, Errno: errno}
				}
				return nil
			}
			b = rest
		}
	}
}

func (c *Conn) isUnlisted(index int) bool {
	_, err := c.Name(index)
	return errors.Is(err, fs.ErrNotExist)
}

// isGone reports whether an event is a link's end. A port of a bridge has ends of its own, of
// family AF_BRIDGE.
func isGone(m netlink.Message, index int) bool {
	return m.Header.Type == unix.RTM_DELLINK && len(m.Data) >= unix.SizeofIfInfomsg && m.Data[0] == unix.AF_UNSPEC &&
		int(int32(binary.NativeEndian.Uint32(m.Data[4:]))) == index
}
