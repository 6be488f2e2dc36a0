// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A wait is for a state of the kernel. The kernel tells its changes to the listeners of a multicast
// group.
type wait struct {
	group int // RTNLGRP_*, linux/rtnetlink.h
	// look finds out the present state. An event that comes before the answer is newer.
	look  func() error
	event func(netlink.Message) // learns of a change
	done  func() bool
}

// await joins the group first and then looks, since no event is sent for earlier changes. If events
// are lost, it looks again. It returns [os.ErrDeadlineExceeded] if the state isn't reached within
// the timeout.
func (c *Conn) await(w wait, timeout time.Duration) (err error) {
	deadline := time.Now().Add(timeout)
	if err := c.sock.JoinGroup(w.group); err != nil {
		return err
	}
	c.event = w.event
	defer func() {
		c.event = nil
		leave := errors.Join(c.sock.LeaveGroup(w.group), c.sock.SetReceiveTimeout(0))
		if err == nil {
			err = leave
		}
	}()
	if err := w.look(); err != nil {
		return err
	}
	for !w.done() {
		left := time.Until(deadline)
		if left <= 0 {
			return os.ErrDeadlineExceeded
		}
		if err := c.sock.SetReceiveTimeout(max(left, time.Millisecond)); err != nil {
			return err
		}
		ms, err := c.sock.Receive()
		switch {
		case errors.Is(err, unix.EAGAIN):
			continue
		case errors.Is(err, unix.ENOBUFS):
			c.sock.Drain()
			err = w.look()
		}
		if err != nil {
			return err
		}
		for _, m := range ms {
			w.event(m)
		}
	}
	return nil
}
