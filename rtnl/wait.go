// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// DADFailedError is an IPv6 address that another host on the link uses already (RFC 4862, section
// 5.4).
type DADFailedError struct {
	Link int // its index
	Addr netip.Addr
}

func (e *DADFailedError) Error() string {
	return fmt.Sprintf("duplicate address detection failed: %s is in use on link %d", e.Addr, e.Link)
}

// DADTimeoutError is a detection that wasn't over within its bound. It is [os.ErrDeadlineExceeded].
type DADTimeoutError struct {
	Link    int          // its index
	Addrs   []netip.Addr // still tentative, in order
	Timeout time.Duration
}

func (e *DADTimeoutError) Error() string {
	return fmt.Sprintf("duplicate address detection isn't over after %v on link %d: %v", e.Timeout, e.Link, e.Addrs)
}

// Unwrap returns [os.ErrDeadlineExceeded].
func (e *DADTimeoutError) Unwrap() error { return os.ErrDeadlineExceeded }

// WaitDAD waits until no IPv6 address of a link is tentative. It doesn't poll, but waits for the
// kernel's event (RTNLGRP_IPV6_IFADDR). A detection takes about a second if nothing speeds it up,
// and never ends on a link that is down. The error for the first duplicate is a [*DADFailedError],
// and for the end of the timeout a [*DADTimeoutError].
func (c *Conn) WaitDAD(link int, timeout time.Duration) error {
	d := detection{link: link, tentative: map[netip.Addr]bool{}, settled: map[netip.Addr]bool{}}
	err := c.await(wait{
		group: unix.RTNLGRP_IPV6_IFADDR,
		look:  func() error { return d.list(c) },
		event: d.event,
		done:  func() bool { return d.failed != nil || len(d.tentative) == 0 },
	}, timeout)
	switch {
	case d.failed != nil:
		return d.failed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return d.timeout(timeout)
	case err != nil:
		return fmt.Errorf("rtnl: wait for duplicate address detection: %w", err)
	}
	return nil
}

// A detection follows the addresses of a link.
type detection struct {
	link      int
	tentative map[netip.Addr]bool
	settled   map[netip.Addr]bool // by an event; an answer that is under way may be older
	failed    error               // a *DADFailedError
}

// list learns the addresses that are there.
func (d *detection) list(c *Conn) error {
	if err := c.setStrict(); err != nil {
		return err
	}
	for {
		clear(d.tentative)
		requestAddrs(c, d.link, unix.AF_INET6)
		err := c.ask("list addresses", func(b []byte) error {
			a, err := decodeAddr(b)
			if err == nil {
				d.see(a)
			}
			return err
		})
		if err != ErrInterrupted {
			return err
		}
	}
}

func (d *detection) event(m netlink.Message) {
	switch m.Header.Type {
	case unix.RTM_NEWADDR:
		if a, err := decodeAddr(m.Data); err == nil && a.Link == d.link {
			d.settled[a.Prefix.Addr()] = !a.Tentative
			d.see(a)
		}
	case unix.RTM_DELADDR:
		if a, err := decodeAddr(m.Data); err == nil && a.Link == d.link {
			delete(d.tentative, a.Prefix.Addr())
		}
	}
}

func (d *detection) see(a AddrState) {
	addr := a.Prefix.Addr()
	switch {
	case a.Link != d.link:
	case a.DADFailed:
		if d.failed == nil {
			d.failed = &DADFailedError{Link: d.link, Addr: addr}
		}
	case a.Tentative && !d.settled[addr]:
		d.tentative[addr] = true
	default:
		delete(d.tentative, addr)
	}
}

func (d *detection) timeout(after time.Duration) error {
	e := &DADTimeoutError{Link: d.link, Timeout: after}
	for addr := range d.tentative {
		e.Addrs = append(e.Addrs, addr)
	}
	order.By(e.Addrs, netip.Addr.Compare)
	return e
}
