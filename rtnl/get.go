// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
)

// skipStats leaves a link's counters, half of the answer, out of it (RTEXT_FILTER_SKIP_STATS,
// linux/rtnetlink.h).
const skipStats = 1 << 3

// Link returns everything about the link with a name or an alternative name, by one message. The
// error for a missing link is [io/fs.ErrNotExist].
func (c *Conn) Link(name string) (LinkState, error) {
	m, err := c.getLink(0, name)
	return m.LinkState, err
}

// LinkByIndex is [Conn.Link] by index.
func (c *Conn) LinkByIndex(index int) (LinkState, error) {
	m, err := c.getLink(index, "")
	return m.LinkState, err
}

// Bridge returns the settings of the bridge with a name. The error for a missing link is
// [io/fs.ErrNotExist], and for a link of another kind [ErrNotBridge].
func (c *Conn) Bridge(name string) (Bridge, error) {
	m, err := c.getLink(0, name)
	switch {
	case err != nil:
		return Bridge{}, err
	case m.Kind != "bridge":
		return Bridge{Link: m.Link}, ErrNotBridge
	}
	return bridgeOf(m.Link, m.data)
}

// ErrNotBridge is the error for a link that isn't a bridge.
var ErrNotBridge = errors.New("rtnl: not a bridge")

// ErrNotPort is the error for a link that isn't a bridge's port.
var ErrNotPort = errors.New("rtnl: not a bridge port")

// Port returns how a bridge treats the link with a name. The error for a missing link is
// [io/fs.ErrNotExist], and for a link that isn't a port [ErrNotPort].
func (c *Conn) Port(name string) (Port, error) {
	m, err := c.getLink(0, name)
	switch {
	case err != nil:
		return Port{}, err
	case !m.hasPort:
		return Port{}, ErrNotPort
	}
	return portOf(m.Link, m.port)
}

// getLink asks for a link by its index, or by its name if the index is 0.
func (c *Conn) getLink(index int, name string) (linkMessage, error) {
	what := "get link " + name
	if index != 0 {
		what = "get link " + strconv.Itoa(index)
	}
	if len(name) > maxAltName {
		return linkMessage{}, &Error{Change: what, Reason: "a link's alternative name has at most 127 bytes", Errno: syscall.ENODEV}
	}
	c.enc.buf = c.enc.buf[:0]
	c.enc.begin(unix.RTM_GETLINK, unix.NLM_F_REQUEST)
	c.linkHeader(unix.AF_UNSPEC, index)
	switch {
	case index != 0:
	case len(name) > maxName:
		c.enc.str(unix.IFLA_ALT_IFNAME, name)
	default: // an alternative name of this length, too
		c.enc.str(unix.IFLA_IFNAME, name)
	}
	c.enc.u32(unix.IFLA_EXT_MASK, skipStats)
	var m linkMessage
	found := false
	err := c.ask(what, func(data []byte) (err error) {
		found = true
		m, err = decodeLink(data)
		return err
	})
	if err == nil && !found {
		err = errShort
	}
	return m, err
}

// linkHeader appends a struct ifinfomsg without flags.
func (c *Conn) linkHeader(family uint8, index int) {
	c.enc.fixed(family, 0, 0, 0)
	c.enc.fixed32(uint32(index))
	c.enc.fixed32(0)
	c.enc.fixed32(0)
}

// ask sends the request in c.enc and calls fn with the payload of each message of the answer, to
// its end. It returns the first error.
func (c *Conn) ask(what string, fn func(data []byte) error) (first error) {
	m := request(c.enc.buf)
	if c.seq++; c.seq == 0 {
		c.seq = 1
	}
	m.Header.Sequence = c.seq
	if err := c.sock.Send(m); err != nil {
		return fmt.Errorf("rtnl: %s: %w", what, err)
	}
	for {
		ms, err := c.sock.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			c.sock.Drain()
		}
		if err != nil {
			return fmt.Errorf("rtnl: %s: %w", what, err)
		}
		for _, m := range ms {
			if m.Header.Sequence != c.seq {
				// It's an event, or a late answer to a request that failed with the socket's error.
				if m.Header.Sequence == 0 && c.event != nil {
					c.event(m)
				}
				continue
			}
			last, err := takeAnswer(what, m, fn)
			if first == nil {
				first = err
			}
			if last {
				return first
			}
		}
	}
}

// takeAnswer handles one message of an answer, and says whether it's the last. A list ends with
// NLMSG_DONE, any other answer with its only message; a refusal ends either.
func takeAnswer(what string, m netlink.Message, fn func(data []byte) error) (last bool, err error) {
	interrupted := m.Header.Flags&netlink.DumpInterrupted != 0
	if m.Header.Type == netlink.Error || m.Header.Type == netlink.Done {
		errno, reason := nlsock.Answer(m)
		if errno != 0 {
			return true, &Error{Change: what, Reason: reason, Errno: errno}
		}
		if interrupted {
			return true, ErrInterrupted
		}
		return true, nil
	}
	last = m.Header.Flags&netlink.Multi == 0
	if interrupted {
		return last, ErrInterrupted
	}
	return last, fn(m.Data)
}
