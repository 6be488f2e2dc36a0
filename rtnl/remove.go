// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/offload"
	"golang.org/x/sys/unix"
)

// sendCheck is how often a removal looks whether its sender failed, which nothing else would tell.
const sendCheck = time.Second

// Remove deletes a link and returns as soon as it's gone from its namespace, with its name and
// index free, rather than when its memory is. The kernel unlists a veth within a millisecond or so,
// says so to those who listen (RTNLGRP_LINK), and holds the sender in its system call for an RCU
// barrier of 15 to 35 ms more. Remove listens while another sends. A missing link is
// [io/fs.ErrNotExist].
//
// A goroutine sends, whose thread is in the kernel for a while after Remove has returned: a process
// that exits then is waited for. The conn can be used and closed meanwhile. Others' changes of
// links make Remove wait, for as long as they take; once ctx is done, it gives up within a second,
// and the link goes all the same.
func (c *Conn) Remove(ctx context.Context, index int) error {
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
			go func() { failed <- unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) }()
			return nil
		}
	}
	var b Batch
	b.Delete(Link{Index: index})
	message := c.removal(&b)
	err := send(c.sock.FD(), message)
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

// removal completes the bytes of a batch's only message: it gets a number, and asks for an
// acknowledgement in case that the event is lost.
func (c *Conn) removal(b *Batch) []byte {
	if c.seq++; c.seq == 0 {
		c.seq = 1
	}
	m := append([]byte(nil), b.message(0)...)
	binary.NativeEndian.PutUint16(m[6:], binary.NativeEndian.Uint16(m[6:])|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(m[8:], c.seq)
	return m
}

// awaitGone receives until the link is unlisted, or its removal refused. Where a sender that can't
// tell has failed, the message is sent once more from here: the removal of what's gone is refused,
// and that of what's going waits.
func (c *Conn) awaitGone(ctx context.Context, index int, message []byte, failed <-chan error) error {
	for sent := false; ; {
		ms, err := c.netlink().Receive()
		op, isOp := as[*netlink.OpError](err)
		switch {
		case isOp && op.Sequence == c.seq:
			return refusal("", 0, op)
		case isOp && op.Sequence != 0:
			continue // late, and another's
		case errors.Is(err, unix.ENOBUFS):
			// Too many events: ask.
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
		for _, m := range ms {
			if m.Header.Sequence == c.seq && m.Header.Type == netlink.Error || isGone(m, index) {
				return nil
			}
		}
	}
}

func (c *Conn) isUnlisted(index int) bool {
	_, err := c.Name(index)
	return errors.Is(err, fs.ErrNotExist)
}

// isGone tells whether an event is a link's end. A bridge's port has ends of its own, of family
// AF_BRIDGE.
func isGone(m netlink.Message, index int) bool {
	return m.Header.Type == unix.RTM_DELLINK && len(m.Data) >= unix.SizeofIfInfomsg && m.Data[0] == unix.AF_UNSPEC &&
		int(int32(binary.NativeEndian.Uint32(m.Data[4:]))) == index
}
