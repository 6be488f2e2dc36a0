// SPDX-License-Identifier: Apache-2.0

// Package sockets keeps a program's netlink sockets between its calls.
//
// To open a socket, bind it and close it costs more than to send a short message. And the close of
// one of nfnetlink waits for the memory of the elements that anybody has removed shortly before,
// some 10 ms, in which no transaction starts. A socket that's kept isn't closed.
package sockets

import (
	"sync"
	"time"

	"github.com/swiftcni/swiftcni/internal/conntrack"
	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// most is how many sockets of a kind wait for a call. It's as many as run at once on a busy host.
const most = 32

// A Pool keeps sockets of one network namespace. The zero Pool is empty and ready, and belongs to the
// namespace of its first call. It may be used from many goroutines at once.
type Pool struct {
	fixed bool // nobody looks in which namespace a call is made

	mu     sync.Mutex
	home   home
	calls  int // that run, and go home
	closed bool
	route  shelf[*rtnl.Conn]
	rules  shelf[*nft.Conn]
	flows  shelf[*conntrack.Conn]

	useless []closer       // to be closed together
	after   *time.Timer    // when that is; nil if there are none
	away    sync.WaitGroup // sockets that come back once a removal is over
}

// home is a network namespace. It lives as long as its descriptor is open, and its identity with it.
type home struct {
	known bool
	fd    int
	id    rtnl.NetNSID
}

type closer interface{ Close() error }

// A socket can tell whether it may be used again.
type socket interface {
	comparable
	closer
	Clean() bool
}

// NewFixed returns a Pool of the calling thread's network namespace, for a program whose calls are
// all made there.
func NewFixed() (*Pool, error) {
	h, err := here()
	if err != nil {
		return nil, err
	}
	return &Pool{fixed: true, home: h}, nil
}

// A shelf holds idle sockets. The one that came last goes first.
type shelf[S socket] []S

// take returns a socket that is as good as new, or nil. Others that it meets are useless.
func take[S socket](p *Pool, from *shelf[S]) (s S) {
	for {
		p.mu.Lock()
		n := len(*from)
		if n == 0 {
			p.mu.Unlock()
			return s
		}
		got := (*from)[n-1]
		(*from)[n-1] = s
		*from = (*from)[:n-1]
		p.mu.Unlock()
		if got.Clean() {
			return got
		}
		p.end(got)
	}
}

// back keeps a socket of a good call, unless there are enough, and ends that of any other.
func back[S socket](p *Pool, to *shelf[S], s S, good bool) {
	p.mu.Lock()
	keep := good && !p.closed && len(*to) < most
	if keep {
		*to = append(*to, s)
	}
	p.mu.Unlock()
	if !keep {
		p.end(s)
	}
}

// end closes a socket. Those of nfnetlink wait until it's the moment at which other processes close
// theirs: the kernel then waits once.
func (p *Pool) end(s closer) {
	if _, quick := s.(*rtnl.Conn); quick {
		s.Close()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.useless = append(p.useless, s)
	if p.after == nil {
		p.after = time.AfterFunc(offload.UntilStep(), p.sweep)
	}
}

// sweep closes the sockets that are useless.
func (p *Pool) sweep() {
	p.mu.Lock()
	list := p.useless
	if p.after != nil {
		p.after.Stop()
	}
	p.useless, p.after = nil, nil
	p.mu.Unlock()
	for _, s := range list {
		s.Close()
	}
}

// Settle waits until the sockets of calls that are over have come back. No call may begin meanwhile.
func (p *Pool) Settle() { p.away.Wait() }

// Close closes the sockets that wait for a call. It waits for the kernel: up to some 35 ms for links
// that calls have removed, and as long for the sockets of nfnetlink. Sockets of calls that still run
// are closed after these. The Pool keeps nothing from then on.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.away.Wait()
	p.mu.Lock()
	for _, s := range p.route {
		p.useless = append(p.useless, s)
	}
	for _, s := range p.rules {
		p.useless = append(p.useless, s)
	}
	for _, s := range p.flows {
		p.useless = append(p.useless, s)
	}
	p.route, p.rules, p.flows = nil, nil, nil
	p.leaveHome()
	p.mu.Unlock()
	p.sweep()
}

// leaveHome closes the namespace of a closed Pool once no call needs it any more.
func (p *Pool) leaveHome() {
	if p.closed && p.calls == 0 && p.home.known {
		unix.Close(p.home.fd)
		p.home = home{}
	}
}
