// SPDX-License-Identifier: Apache-2.0

// Package dhcp is the plugin that gives the addresses of a DHCP server. A daemon asks the server,
// and keeps the leases: swiftctl's or the reference's, which is called by Go's net/rpc.
package dhcp

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"golang.org/x/sys/unix"
)

// Bounds of calls. The daemon itself gives up after 208 s without an answer of a server, and needs
// far less for the others, even if it's started by its socket.
const (
	allocateTimeout = 5 * time.Minute
	timeout         = time.Minute
)

// The daemon's methods.
const (
	allocate = "DHCP.Allocate"
	release  = "DHCP.Release"
	check    = "DHCP.Check" // swiftctl's daemon alone
)

// unknownMethod begins net/rpc's refusal of one.
const unknownMethod = "rpc: can't find method "

// Keys are its own, of one network.
type Keys struct{ conf *netconf.Network }

// Read reads them.
func Read(n *netconf.Network) verbs.Plugin { return &Keys{n} }

// Wrong is a missing key "ipam". What is in it was judged when it was read.
func (k *Keys) Wrong(spec.Attachment) *spec.Error {
	if !k.conf.IPAM.There {
		return fault.Key("ipam", "IPAM config missing 'ipam' key")
	}
	return nil
}

// Add asks for an address. One that nobody hears of is given back.
func (k *Keys) Add(ctx context.Context, _ *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if e := k.Wrong(a); e != nil {
		return nil, e
	}
	res, err := k.ask(ctx, allocate, allocateTimeout, a)
	if err != nil && !errors.Is(err, errNothing) {
		_, _ = k.call(context.WithoutCancel(ctx), release, a, timeout)
	}
	return res, err
}

// ask gets an attachment's address by one of the methods.
func (k *Keys) ask(ctx context.Context, method string, within time.Duration, a spec.Attachment) (*spec.Result, error) {
	reply, err := k.call(ctx, method, a, within)
	res := &spec.Result{CNIVersion: "1.0.0"} // it has this form, whatever is asked for
	if err == nil {
		if err = k.conf.ReadAnswer(res, reply); err == nil && len(res.IPs) == 0 {
			err = errors.New("IPAM plugin returned missing IP config")
		}
		if err == nil {
			err = k.conf.CheckAddresses(res.IPs)
		}
		err = fault.Wrap("the DHCP daemon's answer", err)
	}
	res.CNIVersion, res.OfIPAM = k.conf.CNIVersion, true
	return res, err
}

// Del gives the address back.
func (k *Keys) Del(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	_, err := k.call(ctx, release, a, timeout)
	return err
}

// Check asks for the address. The reference's daemon has no method for that, but tells a lease that
// it has if it's asked for one. If it has lost the lease it gets another, which may be of another
// address. Whatever the answer is, the address may be in use, so it isn't given back.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	res, err := k.ask(ctx, check, timeout, a)
	if err != nil && strings.Contains(err.Error(), unknownMethod) {
		res, err = k.ask(ctx, allocate, allocateTimeout, a)
	}
	if err != nil || c.Prev == nil {
		return err
	}
	for _, ip := range c.Prev.IPs {
		if ip.Address == res.IPs[0].Address {
			return nil
		}
	}
	return fault.Wrong("dhcp: the lease is of " + res.IPs[0].Address.String() + ", which isn't the attachment's address")
}

// GC has nothing to do: the daemon ends leases of containers that are gone.
func (*Keys) GC(context.Context, *verbs.Call, []spec.Attachment) error { return nil }

// Reclaim has nothing to do either.
func (*Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status says whether the daemon is there. It doesn't ask the server.
func (k *Keys) Status(ctx context.Context, _ *verbs.Call) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s, err := k.dial(ctx)
	if err != nil {
		return fault.Unavailable("the DHCP daemon can't be asked", err)
	}
	unix.Close(s.fd)
	return nil
}
