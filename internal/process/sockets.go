// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/conntrack"
	"github.com/swiftcni/swiftcni/internal/sockets"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// The sockets of the host's namespace that a call needs in the usual case come from here. A program
// that makes many calls keeps them. Those for what is rare, such as taking back a change whose answer
// may be lost, are opened where they're needed.

// Lend makes a call with the sockets of a program that keeps them. If the call fails, panics, or
// ends after ctx, its sockets aren't kept.
func Lend(ctx context.Context, from *sockets.Pool, call func(context.Context) error) (err error) {
	loan := from.Borrow()
	if loan == nil {
		return call(ctx)
	}
	c, good := with(ctx), false
	c.loan = loan
	defer func() { loan.Return(good && ctx.Err() == nil) }()
	err = call(c)
	good = err == nil
	return err
}

// NetNS identifies the network namespace in which the call is made.
func (c *Call) NetNS() (rtnl.NetNSID, error) {
	if c == nil || c.loan == nil {
		return rtnl.CurrentNetNSID()
	}
	id, _ := c.loan.Home()
	return id, nil
}

// Route returns a socket of rtnetlink. [Call.CloseRoute] follows.
func (c *Call) Route() (*rtnl.Conn, error) {
	if c == nil || c.loan == nil {
		return rtnl.Dial(nil)
	}
	return c.loan.Route()
}

// CloseRoute closes a socket of rtnetlink.
func (c *Call) CloseRoute(conn *rtnl.Conn) {
	if c == nil || c.loan == nil {
		conn.Close()
		return
	}
	c.loan.LeaveRoute(conn)
}

// Rules returns a socket of nftables. [Call.CloseRules] follows.
func (c *Call) Rules() (*nft.Conn, error) {
	if c == nil || c.loan == nil {
		return nft.Dial()
	}
	return c.loan.Rules()
}

// CloseRules closes a socket of nftables. gone says that elements may have gone lately.
func (c *Call) CloseRules(conn *nft.Conn, gone bool) {
	if c != nil && c.loan != nil {
		c.loan.LeaveRules(conn)
		return
	}
	c.ending().close(conn, gone)
}

// DropRules closes a socket of nftables at once, unless it's kept. It's for calls that need many, one
// after the other.
func (c *Call) DropRules(conn *nft.Conn) {
	if c != nil && c.loan != nil {
		c.loan.LeaveRules(conn)
		return
	}
	conn.Close()
}

// Flows returns a socket of ctnetlink. [Call.CloseFlows] follows.
func (c *Call) Flows() (*conntrack.Conn, error) {
	if c == nil || c.loan == nil {
		return conntrack.Dial()
	}
	return c.loan.Flows()
}

// CloseFlows closes a socket of ctnetlink. gone is as for [Call.CloseRules].
func (c *Call) CloseFlows(conn *conntrack.Conn, gone bool) {
	if c != nil && c.loan != nil {
		c.loan.LeaveFlows(conn)
		return
	}
	c.ending().close(conn, gone)
}

func (c *Call) ending() *ending {
	if c == nil {
		return nil
	}
	return c.ends
}
