// SPDX-License-Identifier: Apache-2.0

// Package loopback is the plugin that brings a container's lo up.
package loopback

import (
	"context"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Keys are the plugin's own: it has none.
type Keys struct{}

// Read returns the empty keys.
func Read(*netconf.Network) verbs.Plugin { return Keys{} }

// Wrong returns nil.
func (Keys) Wrong(spec.Attachment) *spec.Error { return nil }

// Add brings lo up, and reports its addresses.
func (Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if a.NetNS == "" {
		return nil, &spec.Error{Code: spec.CodeInvalidEnvironment, Msg: "required env variables [CNI_NETNS] missing", Key: "CNI_NETNS"}
	}
	if c.PrevErr != nil {
		return nil, c.PrevErr
	}
	conn, done, err := dial(ctx, a)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := set(conn, rtnl.Up); err != nil {
		return nil, err
	}
	if c.Prev != nil || c.PrevText != nil {
		return c.Prev, nil
	}
	res := &spec.Result{CNIVersion: c.CNIVersion,
		Interfaces: []spec.Interface{{Name: "lo", MAC: "00:00:00:00:00:00", Sandbox: a.NetNS}}}
	var four, six bool
	for addr, err := range conn.Addrs(1, 0) {
		if err != nil {
			return nil, fault.Wrap("list the addresses of lo", err)
		}
		if !addr.Prefix.Addr().IsLoopback() {
			return nil, &spec.Error{Code: spec.CodeInternal, Msg: "loopback interface found with non-loopback address " + strconv.Quote(addr.Prefix.Addr().String())}
		}
		first := &six
		if addr.Prefix.Addr().Is4() {
			first = &four
		}
		if !*first {
			*first = true
			res.IPs = append(res.IPs, spec.IP{Address: addr.Prefix, Interface: 0})
		}
	}
	return res, nil
}

// Del brings lo down.
func (Keys) Del(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	if a.NetNS == "" {
		return nil
	}
	conn, done, err := dial(ctx, a)
	if err != nil && fault.Of(err).Code == spec.CodeInvalidNetNS {
		return err
	}
	if err != nil {
		return nil // the namespace is gone, and lo with it
	}
	defer done()
	return set(conn, rtnl.Down)
}

// Check finds out whether lo is up.
func (Keys) Check(ctx context.Context, _ *verbs.Call, a spec.Attachment) error {
	conn, done, err := dial(ctx, a)
	if err != nil {
		return err
	}
	defer done()
	flags, err := conn.Flags("lo")
	if err == nil && !flags.Up {
		return &spec.Error{Code: spec.CodeInternal, Msg: "loopback interface is down"}
	}
	return fault.Wrap("failed to lookup lo", err)
}

// GC has nothing to do: lo goes with its namespace.
func (Keys) GC(context.Context, *verbs.Call, []spec.Attachment) error { return nil }

// Reclaim has nothing to do.
func (Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status has nothing to say.
func (Keys) Status(context.Context, *verbs.Call) error { return nil }

func set(conn *rtnl.Conn, state rtnl.State) error {
	var b rtnl.Batch
	b.Set(rtnl.Link{Name: "lo", State: state})
	return fault.Wrap("failed to set lo", conn.Do(&b))
}

// dial opens a socket in the container's namespace.
func dial(ctx context.Context, a spec.Attachment) (*rtnl.Conn, func(), error) {
	host, err := process.Of(ctx).NetNS()
	if err != nil {
		return nil, nil, fault.Wrap("identify the host's network namespace", err)
	}
	ns, err := netns.Enter(a, host)
	if err != nil {
		return nil, nil, err
	}
	conn, err := rtnl.DialWith(ctx, ns, nil)
	if err != nil {
		ns.Close()
		return nil, nil, fault.Wrap("open a netlink socket in the container", err)
	}
	return conn, func() { conn.Close(); ns.Close() }, nil
}
