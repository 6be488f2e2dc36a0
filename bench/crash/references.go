// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/nlsock"
	"golang.org/x/sys/unix"
)

// references finds network namespaces that a process still holds. Each namespace of a trial gets an
// ID in the namespace in which this was made. The kernel says there when the namespace is really
// gone (RTM_DELNSID, net/core/net_namespace.c).
type references struct {
	ask, hear *nlsock.Socket
	next      int32
	alive     map[int32]int // ID: trial
}

func newReferences() (*references, error) {
	r := &references{alive: map[int32]int{}}
	var err error
	if r.ask, err = nlsock.Open(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	if r.hear, err = nlsock.Open(unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	// An unbound socket has the kernel's own port, 0, and the kernel sends no event to itself.
	if err := unix.Bind(r.hear.FD(), &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	// A worker hears only of its own batch, but namespaces die in crowds.
	_ = unix.SetsockoptInt(r.hear.FD(), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	return r, r.hear.JoinGroup(unix.RTNLGRP_NSID)
}

// watch gives a namespace an ID.
func (r *references) watch(netns, trial int) error {
	r.next++
	id := r.next
	e := netlink.NewAttributeEncoder()
	e.Uint32(unix.NETNSA_FD, uint32(netns))
	e.Int32(unix.NETNSA_NSID, id)
	attributes, err := e.Encode()
	if err != nil {
		return err
	}
	err = r.ask.Send(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_NEWNSID, Flags: netlink.Request | netlink.Acknowledge, Sequence: uint32(id)},
		// struct rtgenmsg, padded to an attribute's alignment
		Data: append(make([]byte, 4), attributes...),
	})
	if err != nil {
		return err
	}
	answers, err := r.ask.Receive()
	if err != nil {
		return err
	}
	for _, m := range answers {
		if m.Header.Type == netlink.Error && len(m.Data) >= 4 {
			if errno := int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
				return fmt.Errorf("give a network namespace an ID: %w", unix.Errno(-errno))
			}
		}
	}
	r.alive[id] = trial
	return nil
}

// settle waits until all namespaces of the trials so far are gone. It returns the trials of those
// that aren't, with their numbers of namespaces.
func (r *references) settle(limit time.Duration) (map[int]int, error) {
	deadline := time.Now().Add(limit)
	for len(r.alive) > 0 {
		left := time.Until(deadline)
		if left <= 0 {
			break
		}
		if err := r.hear.SetReceiveTimeout(left); err != nil {
			return nil, err
		}
		messages, err := r.hear.Receive()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("hear of the end of namespaces: %w", err)
		}
		for _, m := range messages {
			if id, ok := endedID(m); ok {
				delete(r.alive, id)
			}
		}
	}
	held := map[int]int{}
	for id, trial := range r.alive {
		held[trial]++
		delete(r.alive, id)
	}
	return held, nil
}

func endedID(m netlink.Message) (int32, bool) {
	if m.Header.Type != unix.RTM_DELNSID || len(m.Data) < 4 {
		return 0, false
	}
	d, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return 0, false
	}
	for d.Next() {
		if d.Type() == unix.NETNSA_NSID {
			return d.Int32(), true
		}
	}
	return 0, false
}
