// SPDX-License-Identifier: Apache-2.0

package dhcp

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/swiftcni/swiftcni/rtnl"
	"golang.org/x/sys/unix"
)

// A lease is one of a container's, from the moment on that it's asked for.
type lease struct {
	d    *Daemon
	id   string
	at   place
	opts []dhcpv4.Option

	ctx    context.Context
	cancel context.CancelFunc // ends it
	ready  chan struct{}      // is closed when there's an address, or err
	done   chan struct{}      // is closed when it has ended
	err    error
	link   *link // once ready; its own goroutine's

	mu     sync.Mutex // of what follows, which is written by the goroutine alone
	ack    *dhcpv4.DHCPv4
	bound  time.Time
	rebind time.Time // when any server is asked
	expiry time.Time
	next   time.Time // when the server is asked again
	closed bool      // the link is
}

func (d *Daemon) newLease(id string, at place, opts []dhcpv4.Option) *lease {
	l := &lease{d: d, id: id, at: at, opts: opts, ready: make(chan struct{}), done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(d.ctx)
	return l
}

func (l *lease) log(format string, args ...any) {
	l.d.o.Log("%s: "+format, append([]any{l.id}, args...)...)
}

// stop ends the lease, and waits for that.
func (l *lease) stop() {
	l.cancel()
	<-l.done
}

// serves reports whether the lease is of the link at a place.
func (l *lease) serves(p place) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, nil
	}
	return l.link.isAt(p)
}

// live is a lease's life.
func (l *lease) live() {
	defer close(l.done)
	defer l.cancel()
	if l.link == nil {
		l.err = l.acquire()
		if l.err == nil {
			l.d.keep() // before anybody knows the address
		} else {
			l.d.forget(l)
		}
		close(l.ready)
		if l.err != nil {
			l.log("%v", l.err)
			return
		}
	}
	if l.maintain() {
		l.d.forget(l)
	}
	l.mu.Lock()
	l.closed = true
	l.link.close()
	l.mu.Unlock()
}

// Pauses between attempts of an ADD (RFC 2131, 4.1). The first few are short.
const (
	shortPause  = 2 * time.Second
	shortPauses = 4
	longPause   = 4 * time.Second
)

// acquire gets the address.
func (l *lease) acquire() (err error) {
	if l.link, err = openLink(l.at); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			l.link.close()
		}
	}()
	if err := l.link.set(rtnl.Up); err != nil {
		return err
	}
	c, err := l.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeoutCause(l.ctx, l.d.o.ResendTimeout, errNoMoreTries)
	defer cancel()
	l.log("acquiring lease")
	pause := min(longPause, l.d.o.ResendMax)
	for n := 0; ; n++ {
		ack, err := c.request(ctx, nil)
		if err == nil {
			if err = l.commit(ack, time.Now()); err != nil {
				return errors.Join(err, l.release(ack))
			}
			l.log("lease of %v acquired, expiration is %v", ack.YourIPAddr, l.expiry.Round(0))
			return nil
		}
		l.log("%v", err)
		wait := shortPause
		if n >= shortPauses {
			wait, pause = pause, min(2*pause, l.d.o.ResendMax)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait - time.Second/2 + rand.N(time.Second)):
		}
	}
}

// Times of servers that don't tell them (RFC 2131, 4.4.5). leastPause keeps one from being asked
// without end.
const (
	defaultTime = time.Hour
	leastPause  = time.Second
	mostPause   = time.Minute
)

// commit takes over what the server says.
func (l *lease) commit(ack *dhcpv4.DHCPv4, bound time.Time) error {
	if ones, bits := ack.SubnetMask().Size(); ack.SubnetMask() == nil || ones == 0 && bits == 0 {
		return errors.New("DHCP option Subnet Mask not found in DHCPACK")
	}
	length := ack.IPAddressLeaseTime(defaultTime)
	if length < leastPause {
		return fmt.Errorf("the server's lease lasts %v", length)
	}
	rebind := ack.IPAddressRebindingTime(length / 100 * 85)
	renew := ack.IPAddressRenewalTime(length / 2)
	if renew <= 0 || renew > rebind || rebind > length {
		renew, rebind = length/2, length/100*85
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ack, l.bound = ack, bound
	l.next, l.rebind, l.expiry = bound.Add(renew), bound.Add(rebind), bound.Add(length)
	return nil
}

// maintain keeps the lease until the container is gone, or until it's lost or given back. over is
// false if only the daemon ends.
func (l *lease) maintain() (over bool) {
	scan := time.Now()
	for {
		select {
		case <-l.ctx.Done():
			if l.d.ctx.Err() != nil {
				return false
			}
			l.giveBack()
			return true
		case <-time.After(clamp(time.Until(l.next), 0, l.d.o.Watch)):
		}
		if time.Now().After(scan) {
			began := time.Now()
			if l.link.isAbandoned() {
				l.log("the namespace %s is gone", l.link.path)
				l.giveBack()
				return true
			}
			scan = time.Now().Add(max(l.d.o.Watch, time.Duration(l.d.o.rest)*time.Since(began))) // a search through all threads may take long
		}
		if time.Now().Before(l.next) {
			continue
		}
		if !l.link.isThere() {
			l.log("the link %s no longer exists", l.link.ifName)
			return true
		}
		if !l.extend() {
			l.log("the lease of %v is lost, bringing interface DOWN", l.ack.YourIPAddr)
			if err := l.link.set(rtnl.Down); err != nil {
				l.log("failed to bring %v interface DOWN: %v", l.link.ifName, err)
			}
			return true
		}
	}
}

func (l *lease) giveBack() {
	l.log("releasing lease of %v", l.ack.YourIPAddr)
	if err := l.release(l.ack); err != nil {
		l.log("failed to release DHCP lease: %v", err)
	}
}

// extend asks for a longer lease. It's false if the address may not be used any more: the lease has
// expired, or a server gives another address.
func (l *lease) extend() bool {
	now := time.Now()
	until := l.expiry
	switch {
	case now.Before(l.rebind):
		until = l.rebind
	case !now.Before(l.expiry):
		until = now.Add(l.d.o.Timeout) // as after a pause of the daemon: one attempt more
	}
	ctx, cancel := context.WithDeadline(l.ctx, until)
	defer cancel()
	ack, err := l.again(ctx, now)
	if l.ctx.Err() != nil {
		return true
	}
	if err == nil {
		if err = l.commit(ack, time.Now()); err == nil {
			l.log("lease renewed, expiration is %v", l.expiry.Round(0))
			l.d.keep()
			return true
		}
	}
	l.log("%v", err)
	if errors.Is(err, errOther) || !time.Now().Before(l.expiry) {
		return false
	}
	left := time.Until(until)
	if left <= 0 {
		left = time.Until(l.expiry)
	}
	l.mu.Lock()
	l.next = time.Now().Add(min(clamp(left/2, leastPause, mostPause), max(left, 0)))
	l.mu.Unlock()
	return true
}

// again renews the lease. A server that doesn't know it any more may still give the same address.
func (l *lease) again(ctx context.Context, now time.Time) (*dhcpv4.DHCPv4, error) {
	c, err := l.client()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if now.Before(l.expiry) {
		ack, err := c.renew(ctx, l.ack, !now.Before(l.rebind))
		if !errors.Is(err, errNak) {
			return ack, err
		}
		l.log("%v", err)
	}
	return c.request(ctx, l.ack.YourIPAddr)
}

// saved is what another daemon needs to take the lease up.
func (l *lease) saved() (s saved, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ack == nil || l.link == nil {
		return s, false
	}
	at := l.link
	s = saved{ClientID: l.id, NetNS: at.path, Dev: at.id.Dev, Ino: at.id.Ino, IfName: at.ifName, Index: at.index, MAC: at.mac.String(),
		Bound: l.bound, ACK: l.ack.ToBytes(), Options: map[int][]byte{}}
	for _, o := range l.opts {
		s.Options[int(o.Code.Code())] = o.Value.ToBytes()
	}
	return s, true
}

// result is a plugin's answer. What there's none of in the server's message is left out.
func (l *lease) result(priority int) *Result {
	l.mu.Lock()
	ack := l.ack
	l.mu.Unlock()
	r := &Result{CNIVersion: "1.1.0"}
	ip := &IPConfig{Address: network(ack)}
	if routers := ack.Router(); len(routers) > 0 {
		ip.Gateway = routers[0]
	}
	r.IPs = []*IPConfig{ip}
	r.Routes = routes(ack, ip.Gateway)
	for _, route := range r.Routes {
		route.Priority = priority
	}
	return r
}

// routes are those of option 121 alone (RFC 3442), or else those of option 33 and the default route
// by a router.
func routes(ack *dhcpv4.DHCPv4, router net.IP) (list []*Route) {
	if classless := ack.ClasslessStaticRoute(); len(classless) > 0 {
		for _, r := range classless {
			route := &Route{Dst: *r.Dest, GW: r.Router}
			if r.Router.IsUnspecified() {
				scope := int(unix.RT_SCOPE_LINK)
				route.Scope = &scope
			}
			list = append(list, route)
		}
		return list
	}
	for b := ack.Options.Get(dhcpv4.OptionStaticRoutingTable); len(b) >= 8; b = b[8:] {
		dst := net.IP(b[:4])
		list = append(list, &Route{Dst: net.IPNet{IP: dst, Mask: dst.DefaultMask()}, GW: net.IP(b[4:8])})
	}
	if router != nil {
		list = append(list, &Route{Dst: net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, GW: router})
	}
	return list
}
