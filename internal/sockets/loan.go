// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"github.com/swiftcni/swiftcni/internal/conntrack"
	"github.com/swiftcni/swiftcni/internal/inside"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A Loan is the sockets that one call has of a Pool, for one goroutine at a time. What the call gives
// back is the call's own until its end.
type Loan struct {
	pool  *Pool
	home  home
	route shelf[*rtnl.Conn]
	rules shelf[*nft.Conn]
	flows shelf[*conntrack.Conn]
}

// Borrow begins a call. [Loan.Return] ends it. It returns nil if the calling thread is in another
// network namespace than the Pool's sockets, or if the Pool is closed. Then the call opens its own
// sockets.
func (p *Pool) Borrow() *Loan {
	var now home
	if !p.fixed {
		var err error
		if now, err = here(); err != nil {
			return nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !now.known:
	case p.home.known || p.closed:
		defer unix.Close(now.fd)
	default:
		p.home = now
	}
	if p.closed || now.known && now.id != p.home.id {
		return nil
	}
	p.calls++
	return &Loan{pool: p, home: p.home}
}

// here opens the calling thread's network namespace.
func here() (h home, err error) {
	if h.fd, err = inside.Own(); err != nil {
		return h, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		unix.Close(h.fd)
		return h, err
	}
	h.known, h.id = true, rtnl.NetNSID{Dev: uint64(st.Dev), Ino: st.Ino}
	return h, nil
}

// Home is the namespace in which the call is made, and a descriptor of it for the call's time.
func (l *Loan) Home() (id rtnl.NetNSID, fd int) { return l.home.id, l.home.fd }

// Route returns a socket of rtnetlink.
func (l *Loan) Route() (*rtnl.Conn, error) {
	if s := again(l.pool, &l.route, &l.pool.route); s != nil {
		return s, nil
	}
	return rtnl.Dial(nil)
}

// Rules returns a socket of nftables.
func (l *Loan) Rules() (*nft.Conn, error) {
	if s := again(l.pool, &l.rules, &l.pool.rules); s != nil {
		return s, nil
	}
	return nft.Dial()
}

// Flows returns a socket of ctnetlink.
func (l *Loan) Flows() (*conntrack.Conn, error) {
	if s := again(l.pool, &l.flows, &l.pool.flows); s != nil {
		return s, nil
	}
	return conntrack.Dial()
}

// again returns a socket that the call has had before, or else one of the Pool, or nil.
func again[S socket](p *Pool, own, idle *shelf[S]) S {
	var none S
	if s := take(p, own); s != none {
		return s
	}
	return take(p, idle)
}

// LeaveRoute gives a socket back, whatever has become of it.
func (l *Loan) LeaveRoute(s *rtnl.Conn) { l.route = append(l.route, s) }

// LeaveRules is LeaveRoute for one of nftables.
func (l *Loan) LeaveRules(s *nft.Conn) { l.rules = append(l.rules, s) }

// LeaveFlows is LeaveRoute for one of ctnetlink.
func (l *Loan) LeaveFlows(s *conntrack.Conn) { l.flows = append(l.flows, s) }

// Return ends the call. good says that it has succeeded in time. Otherwise none of its sockets is
// used again: nobody knows which answers are still to come.
func (l *Loan) Return(good bool) {
	p := l.pool
	for _, s := range l.route {
		awaited := p.goes()
		s.Settle(func() {
			back(p, &p.route, s, good)
			if awaited {
				p.away.Done()
			}
		})
	}
	for _, s := range l.rules {
		back(p, &p.rules, s, good)
	}
	for _, s := range l.flows {
		back(p, &p.flows, s, good)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	p.leaveHome()
}

// goes notes that a socket may come back late, and reports whether Close waits for it.
func (p *Pool) goes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.away.Add(1)
	}
	return !p.closed
}
