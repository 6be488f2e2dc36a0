// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cmd/swiftctl/internal/box"
	"github.com/swiftcni/swiftcni/rtnl"
)

// patience is how long a connection may take. The kernel repeats a lost packet after a second.
const patience = time.Minute

// serveAt answers connections to port 80 of an address, until it's closed: with the server's name, and the address of who
// asks, as it's seen there.
func serveAt(ns *rtnl.NetNS, name string, addr netip.Addr) (l net.Listener, err error) {
	err = ns.Do(func() (err error) {
		l, err = net.Listen("tcp", netip.AddrPortFrom(addr, 80).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("a server of %s: %w", name, err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			fmt.Fprintf(conn, "%s %s", host, name)
			conn.Close()
		}
	}()
	return l, nil
}

// answer is what a server said.
type answer struct {
	by   string // its name
	seen netip.Addr
	took time.Duration
}

// ask connects from a namespace, and waits for the answer.
func ask(from *rtnl.NetNS, to netip.AddrPort) (a answer, err error) {
	start := time.Now()
	var conn net.Conn
	// There is one address, so the socket is made here and nowhere else.
	err = from.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", to.String(), patience)
		return err
	})
	if err != nil {
		return a, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(start.Add(patience))
	text, err := io.ReadAll(conn)
	if err != nil {
		return a, err
	}
	seen, by, _ := strings.Cut(string(text), " ")
	a.by, a.took = by, time.Since(start)
	a.seen, err = netip.ParseAddr(seen)
	return a, err
}

// way is a connection that must be possible.
type way struct {
	what string // has a place for what the server saw
	from *rtnl.NetNS
	to   netip.AddrPort
	by   string     // who must answer
	seen netip.Addr // who must seem to ask
}

// ways sees whether packets get where they should, and nowhere else.
func (t *trial) ways() {
	c1, c2 := t.guests[0], t.guests[1]
	host, outside := box.Uplink.Addr(), box.Outside.Addr()
	for _, w := range []way{
		{"c1 reaches c2, which sees %s", c1.ns, netip.AddrPortFrom(c2.addr, 80), "c2", c1.addr},
		{"c2 reaches c1, which sees %s", c2.ns, netip.AddrPortFrom(c1.addr, 80), "c1", c2.addr},
		{"c1 reaches the outside, which sees %s: that's the host's address, by masquerade", c1.ns, netip.AddrPortFrom(outside, 80), "the outside", host},
		{fmt.Sprintf("the outside reaches c1's port 80 at the host's port %d; c1 sees %%s", published), t.host.Outside, netip.AddrPortFrom(host, published), "c1", outside},
	} {
		a, err := ask(w.from, w.to)
		switch {
		case err != nil:
		case a.by != w.by:
			err = fmt.Errorf("%s answers", a.by)
		case a.seen != w.seen:
			err = fmt.Errorf("it's %s that was seen", a.seen)
		}
		t.check(fmt.Sprintf(w.what, w.seen)+" ("+millis(a.took)+" ms)", err)
	}
	t.unanswered("the outside has no way to "+c1.addr.String()+" itself", netip.AddrPortFrom(c1.addr, 80))
}

// unanswered sees that the outside gets no answer from somewhere.
func (t *trial) unanswered(what string, to netip.AddrPort) {
	var answered error
	if a, err := ask(t.host.Outside, to); err == nil {
		answered = fmt.Errorf("%s answers", a.by)
	}
	t.check(what, answered)
}
