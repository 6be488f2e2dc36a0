// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"io"

	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/sockets"
)

// A Client makes the calls of this package, for a program that makes many. It keeps the netlink
// sockets of the host's network namespace from one call to the next. Attaching takes some four
// percent less time then. And a call is spared the 10 ms of an RCU grace period, for which the kernel
// makes all transactions of nftables wait when such a socket is closed soon after elements went.
//
// The zero Client is ready. It may be used from many goroutines at once, and mustn't be copied. It
// holds nothing but sockets: leases, links and rules are where the functions of this package leave
// them, and any process may take away what a Client has attached.
//
// A Client belongs to the network namespace of the thread that makes its first call. A call from a
// thread in another one is right too, but keeps nothing. Each socket serves one call at a time. After
// a call that fails, or whose context has ended, its sockets are closed. At most 32 of a kind are
// kept: of rtnetlink, of nftables, and of conntrack if ports are mapped.
//
// Its methods do what the functions of their names do.
type Client struct{ sockets sockets.Pool }

// Attach is [Attach].
func (c *Client) Attach(ctx context.Context, n *Network, a Attachment) (res *Result, err error) {
	err = process.Lend(ctx, &c.sockets, func(ctx context.Context) (err error) {
		res, err = Attach(ctx, n, a)
		return err
	})
	return res, err
}

// AttachAll is [AttachAll].
func (c *Client) AttachAll(ctx context.Context, n *Network, list []Attachment) (outcomes []Outcome) {
	_ = process.Lend(ctx, &c.sockets, func(ctx context.Context) error {
		outcomes = AttachAll(ctx, n, list)
		for _, o := range outcomes {
			if o.Err != nil {
				return o.Err
			}
		}
		return nil
	})
	return outcomes
}

// Detach is [Detach].
func (c *Client) Detach(ctx context.Context, n *Network, a Attachment) error {
	return process.Lend(ctx, &c.sockets, func(ctx context.Context) error { return Detach(ctx, n, a) })
}

// Check is [Check].
func (c *Client) Check(ctx context.Context, n *Network, a Attachment, prev *Result) error {
	return process.Lend(ctx, &c.sockets, func(ctx context.Context) error { return Check(ctx, n, a, prev) })
}

// GC is [GC].
func (c *Client) GC(ctx context.Context, n *Network, valid []Attachment) error {
	return process.Lend(ctx, &c.sockets, func(ctx context.Context) error { return GC(ctx, n, valid) })
}

// Reclaim is [Reclaim].
func (c *Client) Reclaim(ctx context.Context, n *Network) error {
	return process.Lend(ctx, &c.sockets, func(ctx context.Context) error { return Reclaim(ctx, n) })
}

// Status is [Status].
func (c *Client) Status(ctx context.Context, n *Network) error {
	return process.Lend(ctx, &c.sockets, func(ctx context.Context) error { return Status(ctx, n) })
}

// Call is [Call].
func (c *Client) Call(ctx context.Context, name string, getenv func(string) string, conf io.Reader) (answer []byte, err error) {
	err = process.Lend(ctx, &c.sockets, func(ctx context.Context) (err error) {
		answer, err = Call(ctx, name, getenv, conf)
		return err
	})
	return answer, err
}

// Run is [Run].
func (c *Client) Run(ctx context.Context, p Process) error {
	return process.Lend(ctx, &c.sockets, func(ctx context.Context) error { return Run(ctx, p) })
}

// Close closes the sockets that no call uses, and waits up to some 35 ms for the kernel. Those of
// calls that still run are closed soon after these. Calls that come later keep nothing, so a program
// that attaches until its end may close first.
func (c *Client) Close() error {
	c.sockets.Close()
	return nil
}
