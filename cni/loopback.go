// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/rtnl"
)

// The plugin loopback brings a container's lo up.

func addLoopback(_ context.Context, n *Network, a Attachment) (*Result, error) {
	if a.NetNS == "" {
		return nil, &Error{Code: CodeInvalidEnvironment, Msg: "required env variables [CNI_NETNS] missing", Key: "CNI_NETNS"}
	}
	if n.prevErr != nil {
		return nil, n.prevErr
	}
	conn, done, err := dialLoopback(a)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := setLoopback(conn, rtnl.Up); err != nil {
		return nil, err
	}
	if n.prev != nil || n.prevRaw != nil {
		return n.prev, nil
	}
	res := &Result{CNIVersion: n.cniVersion,
		Interfaces: []Interface{{Name: "lo", MAC: "00:00:00:00:00:00", Sandbox: a.NetNS}}}
	var four, six bool
	for addr, err := range conn.Addrs(1, 0) {
		if err != nil {
			return nil, failed("list the addresses of lo", err)
		}
		if !addr.Prefix.Addr().IsLoopback() {
			return nil, &Error{Code: CodeInternal, Msg: "loopback interface found with non-loopback address " + quote(addr.Prefix.Addr().String())}
		}
		first := &six
		if addr.Prefix.Addr().Is4() {
			first = &four
		}
		if !*first {
			*first = true
			res.IPs = append(res.IPs, IP{Address: addr.Prefix, Interface: 0})
		}
	}
	return res, nil
}

func delLoopback(_ context.Context, _ *Network, a Attachment) error {
	if a.NetNS == "" {
		return nil
	}
	conn, done, err := dialLoopback(a)
	if err != nil && asError(err).Code == CodeInvalidNetNS {
		return err
	}
	if err != nil {
		return nil // the namespace is gone, and lo with it
	}
	defer done()
	return setLoopback(conn, rtnl.Down)
}

func checkLoopback(_ context.Context, n *Network, a Attachment, _ *Result) error {
	conn, done, err := dialLoopback(a)
	if err != nil {
		return err
	}
	defer done()
	flags, err := conn.Flags("lo")
	if err == nil && !flags.Up {
		return &Error{Code: CodeInternal, Msg: "loopback interface is down"}
	}
	return failed("failed to lookup lo", err)
}

func setLoopback(conn *rtnl.Conn, state rtnl.State) error {
	var b rtnl.Batch
	b.Set(rtnl.Link{Name: "lo", State: state})
	return failed("failed to set lo", conn.Do(&b))
}

// dialLoopback opens a socket in the container's namespace.
func dialLoopback(a Attachment) (*rtnl.Conn, func(), error) {
	host, err := rtnl.CurrentNetNSID()
	if err != nil {
		return nil, nil, failed("identify the host's network namespace", err)
	}
	ns, err := netns.Enter(a, host)
	if err != nil {
		return nil, nil, err
	}
	conn, err := rtnl.Dial(ns)
	if err != nil {
		ns.Close()
		return nil, nil, failed("open a netlink socket in the container", err)
	}
	return conn, func() { conn.Close(); ns.Close() }, nil
}
