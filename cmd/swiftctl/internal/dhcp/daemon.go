// SPDX-License-Identifier: Apache-2.0

// Package dhcp is the daemon of the IPAM plugin dhcp: it asks DHCP servers for addresses, from inside
// containers' network namespaces, and keeps the leases.
package dhcp

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Options are the daemon's. A zero one is the reference's default.
type Options struct {
	HostPrefix    string        // stands before the paths of namespaces
	Timeout       time.Duration // how long an answer to a message is waited for
	ResendMax     time.Duration // the longest pause between attempts
	ResendTimeout time.Duration // how long ADD tries
	Broadcast     bool          // servers are to broadcast their answers
	State         string        // the file of the leases, "" is none

	// Watch is how often it's looked whether the namespace of a container is still there.
	Watch time.Duration
	Log   func(format string, args ...any)

	rest int // for how many times as long as a look took the next one waits
}

// Defaults of the reference's.
const (
	DefaultTimeout       = 10 * time.Second
	DefaultResendMax     = 62 * time.Second
	DefaultResendTimeout = 208 * time.Second
)

const (
	defaultWatch = 10 * time.Second
	defaultRest  = 100
)

// A Daemon has the leases.
type Daemon struct {
	o   Options
	ctx context.Context // its end leaves the leases as they are

	mu     sync.Mutex
	leases map[string]*lease // by client ID

	saving sync.Mutex
}

// New makes a daemon, and takes up the leases of the one before. They are kept until the context
// ends.
func New(ctx context.Context, o Options) *Daemon {
	def := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	def(&o.Timeout, DefaultTimeout)
	def(&o.ResendMax, DefaultResendMax)
	def(&o.ResendTimeout, DefaultResendTimeout)
	def(&o.Watch, defaultWatch)
	if o.rest == 0 {
		o.rest = defaultRest
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	d := &Daemon{o: o, ctx: ctx, leases: map[string]*lease{}}
	d.restore()
	return d
}

// maxClientID is what an option has room for beside the type (RFC 2132, 9.14).
const maxClientID = 254

func clientID(container, network, ifName string) string {
	id := container + "/" + network + "/" + ifName
	return id[:min(len(id), maxClientID)]
}

// Allocate gets an address for a container, or tells the one that it has.
func (d *Daemon) Allocate(a *Args) (*Result, error) {
	conf, err := a.config()
	if err != nil {
		return nil, err
	}
	opts, err := conf.options(a.Args)
	if err != nil {
		return nil, err
	}
	want := place{path: d.o.HostPrefix + a.Netns, ifName: a.IfName}
	for {
		l, found := d.lease(clientID(a.ContainerID, conf.Name, a.IfName), want, opts)
		<-l.ready
		switch {
		case d.ctx.Err() != nil:
			return nil, d.ctx.Err()
		case l.err != nil:
			return nil, l.err
		}
		if found {
			serves, err := l.serves(want)
			if err != nil {
				return nil, err
			}
			if !serves {
				l.stop() // it's that of another container by this name, whose link isn't there any more
				continue
			}
		}
		return l.result(conf.IPAM.Priority), nil
	}
}

// Check tells the lease that a container has, and asks no server: one that has lost its lease has its
// link down, and mustn't get another by a question.
func (d *Daemon) Check(a *Args) (*Result, error) {
	conf, err := a.config()
	if err != nil {
		return nil, err
	}
	l := d.known(a, conf)
	if l == nil {
		return nil, errors.New("there's no lease")
	}
	<-l.ready
	if l.err != nil {
		return nil, l.err
	}
	serves, err := l.serves(place{path: d.o.HostPrefix + a.Netns, ifName: a.IfName})
	if err == nil && !serves {
		err = errors.New("the lease is of another link")
	}
	if err != nil {
		return nil, err
	}
	return l.result(conf.IPAM.Priority), nil
}

// known is the lease of a client, or nil.
func (d *Daemon) known(a *Args, conf *config) *lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.leases[clientID(a.ContainerID, conf.Name, a.IfName)]
}

// lease finds the lease of a client, or begins one.
func (d *Daemon) lease(id string, at place, opts []dhcpv4.Option) (_ *lease, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.leases[id]; l != nil {
		return l, true
	}
	l := d.newLease(id, at, opts)
	d.leases[id] = l
	go l.live()
	return l, false
}

// Release gives a container's address back. One that has none is fine.
func (d *Daemon) Release(a *Args) error {
	conf, err := a.config()
	var wrong *json.UnmarshalTypeError // of a key that doesn't matter here
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	if l := d.known(a, conf); l != nil {
		l.stop()
	}
	return nil
}

// forget ends the daemon's knowledge of a lease.
func (d *Daemon) forget(l *lease) {
	d.mu.Lock()
	if d.leases[l.id] == l {
		delete(d.leases, l.id)
	}
	d.mu.Unlock()
	d.keep()
}

// Close waits until nobody works on the leases any more. The context has ended by then.
func (d *Daemon) Close() {
	d.mu.Lock()
	list := make([]*lease, 0, len(d.leases))
	for _, l := range d.leases {
		list = append(list, l)
	}
	d.mu.Unlock()
	for _, l := range list {
		<-l.done
	}
}

// keep writes the file of the leases.
func (d *Daemon) keep() {
	if d.o.State == "" {
		return
	}
	d.saving.Lock()
	defer d.saving.Unlock()
	if err := d.write(); err != nil {
		d.o.Log("the file of the leases: %v", err)
	}
}

// absent reports whether an error says that something isn't there.
func absent(err error) bool { return errors.Is(err, os.ErrNotExist) }
