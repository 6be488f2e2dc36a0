// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// skipStats leaves a link's counters, half of the answer, out of it (RTEXT_FILTER_SKIP_STATS, linux/rtnetlink.h).
const skipStats = 1 << 3

// dumpRetries is how often a dump that was overtaken by a change starts again.
const dumpRetries = 8

// ErrInterrupted is a dump that changes kept overtaking (NLM_F_DUMP_INTR): it may have missed or doubled something.
var ErrInterrupted = errors.New("rtnl: changes kept overtaking the listing")

// Link returns all about the link with a name, by one message. A missing link is [io/fs.ErrNotExist].
func (c *Conn) Link(name string) (Link, error) {
	m, err := c.getLink(0, name)
	return m.Link, err
}

// LinkByIndex is Link by index.
func (c *Conn) LinkByIndex(index int) (Link, error) {
	m, err := c.getLink(index, "")
	return m.Link, err
}

// Bridge returns all about the bridge with a name. A link of another kind is [ErrNotBridge].
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

// ErrNotBridge is a link that isn't a bridge.
var ErrNotBridge = errors.New("rtnl: not a bridge")

// ErrNotPort is a link that isn't a bridge's port.
var ErrNotPort = errors.New("rtnl: not a bridge port")

// Port returns what a bridge does with the link with a name. A link that's no port is [ErrNotPort].
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

// getLink asks for a link by index or, where that's 0, by name.
func (c *Conn) getLink(index int, name string) (linkMessage, error) {
	what := "get link " + name
	if index != 0 {
		what = "get link " + strconv.Itoa(index)
	}
	if len(name) > maxName {
		return linkMessage{}, &Error{Change: what, Reason: "a link's name has at most 15 bytes", Errno: syscall.ENODEV}
	}
	c.enc.buf = c.enc.buf[:0]
	c.enc.begin(unix.RTM_GETLINK, unix.NLM_F_REQUEST)
	c.linkHeader(unix.AF_UNSPEC, index)
	if index == 0 {
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

// ask sends the request in c.enc and calls fn with the payload of each answer.
func (c *Conn) ask(what string, fn func(data []byte) error) error {
	m := request(c.enc.buf)
	if c.seq++; c.seq == 0 {
		c.seq = 1
	}
	m.Header.Sequence = c.seq
	if _, err := c.nl.Send(m); err != nil {
		return fmt.Errorf("rtnl: %s: %w", what, err)
	}
	for {
		stale, interrupted := false, false
		var failed error
		for m, err := range c.nl.ReceiveIter() {
			if op, ok := errors.AsType[*netlink.OpError](err); ok && op.Sequence != 0 {
				stale = op.Sequence != c.seq
				if !stale {
					failed = refusal(what, 0, op)
				}
				break
			}
			if err != nil {
				return fmt.Errorf("rtnl: %s: %w", what, err)
			}
			if stale = m.Header.Sequence != c.seq; stale {
				continue
			}
			interrupted = interrupted || m.Header.Flags&netlink.DumpInterrupted != 0
			if failed == nil {
				failed = fn(m.Data)
			}
		}
		switch {
		case stale:
		case failed != nil:
			return failed
		case interrupted:
			return ErrInterrupted
		default:
			return nil
		}
	}
}

// dump asks for many objects, and starts again when a change overtook the listing. Nothing is yielded before
// the listing is known to be whole.
func dump[T any](c *Conn, what string, request func(), decode func([]byte, func(T)) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := dumpAll(c, what, request, decode)
		for _, t := range all {
			if !yield(t, nil) {
				return
			}
		}
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

func dumpAll[T any](c *Conn, what string, request func(), decode func([]byte, func(T)) error) ([]T, error) {
	if !c.strict {
		if err := c.sock.SetStrict(); err != nil {
			return nil, fmt.Errorf("rtnl: %s: filters need Linux 4.20: %w", what, err)
		}
		c.strict = true
	}
	var all []T
	add := func(t T) { all = append(all, t) }
	for range dumpRetries {
		all = all[:0]
		c.enc.buf = c.enc.buf[:0]
		request()
		err := c.ask(what, func(data []byte) error { return decode(data, add) })
		if err != ErrInterrupted {
			return all, err
		}
	}
	return nil, ErrInterrupted
}

const dumpFlags = unix.NLM_F_REQUEST | unix.NLM_F_DUMP

// A LinkFilter picks links; what's zero doesn't matter. The kernel filters by Kind and Master.
type LinkFilter struct {
	Kind   string
	Master int
	Group  uint32
}

// Links lists links.
func (c *Conn) Links(f LinkFilter) iter.Seq2[Link, error] {
	return dump(c, "list links", func() {
		c.enc.begin(unix.RTM_GETLINK, dumpFlags)
		c.linkHeader(unix.AF_UNSPEC, 0)
		c.enc.u32(unix.IFLA_EXT_MASK, skipStats)
		if f.Master != 0 {
			c.enc.u32(unix.IFLA_MASTER, uint32(f.Master))
		}
		if f.Kind != "" {
			info := c.enc.nest(unix.IFLA_LINKINFO)
			c.enc.str(unix.IFLA_INFO_KIND, f.Kind)
			c.enc.endNest(info)
		}
	}, func(b []byte, add func(Link)) error {
		m, err := decodeLink(b)
		if err == nil && (f.Group == 0 || m.Group == f.Group) && (f.Kind == "" || m.Kind == f.Kind) {
			add(m.Link)
		}
		return err
	})
}

// Addrs lists the addresses of a link, which the kernel picks; 0 is all links. Family is unix.AF_INET, AF_INET6 or 0
// for both.
func (c *Conn) Addrs(link int, family uint8) iter.Seq2[Addr, error] {
	return dump(c, "list addresses", func() {
		c.enc.begin(unix.RTM_GETADDR, dumpFlags)
		c.enc.fixed(family, 0, 0, 0)
		c.enc.fixed32(uint32(link))
	}, func(b []byte, add func(Addr)) error {
		a, err := decodeAddr(b)
		if err == nil {
			add(a)
		}
		return err
	})
}

// A RouteFilter picks routes, in the kernel; what's zero doesn't matter, but zero Table is [TableMain].
type RouteFilter struct {
	Family uint8 // unix.AF_INET or AF_INET6
	Link   int
	Table  uint32
}

// Routes lists unicast routes of a table. A route with several next hops is listed once for each.
func (c *Conn) Routes(f RouteFilter) iter.Seq2[Route, error] {
	table := f.Table
	if table == 0 {
		table = unix.RT_TABLE_MAIN
	}
	return dump(c, "list routes", func() {
		c.enc.begin(unix.RTM_GETROUTE, dumpFlags)
		c.enc.fixed(f.Family, 0, 0, 0, 0, 0, 0, unix.RTN_UNICAST)
		c.enc.fixed32(0)
		c.enc.u32(unix.RTA_TABLE, table)
		if f.Link != 0 {
			c.enc.u32(unix.RTA_OIF, uint32(f.Link))
		}
	}, func(b []byte, add func(Route)) error {
		r, hops, err := decodeRoute(b)
		switch {
		case err != nil:
			return err
		case hops == nil:
			add(r)
		case !r.nextHops(hops, func(r Route) bool { add(r); return true }):
			return errShort
		}
		return nil
	})
}

// Neighs lists the IPv4 and IPv6 neighbours of a link.
func (c *Conn) Neighs(link int) iter.Seq2[Neigh, error] {
	return c.neighs("list neighbours", unix.AF_UNSPEC, 0, func() {
		if link != 0 {
			c.enc.u32(unix.NDA_IFINDEX, uint32(link))
		}
	})
}

// FDB lists the forwarding table of a bridge's port.
func (c *Conn) FDB(port int) iter.Seq2[Neigh, error] {
	return c.neighs("list fdb", unix.AF_BRIDGE, port, func() {})
}

func (c *Conn) neighs(what string, family uint8, link int, filter func()) iter.Seq2[Neigh, error] {
	return dump(c, what, func() {
		c.enc.begin(unix.RTM_GETNEIGH, dumpFlags)
		c.enc.fixed(family, 0, 0, 0)
		c.enc.fixed32(uint32(link))
		c.enc.fixed32(0)
		filter()
	}, func(b []byte, add func(Neigh)) error {
		n, err := decodeNeigh(b)
		if err == nil {
			add(n)
		}
		return err
	})
}

// HasAddr tells whether a link has an address with a prefix. It's a listing of one link's addresses of one family.
func (c *Conn) HasAddr(link int, p netip.Prefix) (bool, error) {
	for a, err := range c.Addrs(link, familyOf(p.Addr())) {
		if err != nil {
			return false, err
		}
		if a.Prefix == p {
			return true, nil
		}
	}
	return false, nil
}
