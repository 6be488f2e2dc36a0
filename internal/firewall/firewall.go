// SPDX-License-Identifier: Apache-2.0

// Package firewall is the plugin that lets a container through the host's firewall, and that
// separates bridges.
package firewall

import (
	"context"
	"errors"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/firewalld"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Add lets the attachment through.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if err := k.check(c); err != nil {
		return nil, err
	}
	call := process.Of(ctx)
	if err := netns.RefuseOwn(call, a); err != nil {
		return nil, err
	}
	f, err := k.firewalld()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	o := k.opening(c, a)
	o.Delegated = f != nil
	if o.Ingress == nft.IngressIsolated {
		if err := isolatePorts(call, c.Prev, o.Bridge); err != nil {
			return nil, err
		}
	}
	if err := k.open(call, c, o, f); err != nil {
		return nil, err
	}
	warnOfLegacy(call, o)
	return c.PassOn(), nil
}

// open notes the addresses before firewalld hears of them, so that they can be found after a crash.
func (k *Keys) open(call *process.Call, c *verbs.Call, o nft.Allowance, f *firewalld.Conn) error {
	conn, err := call.Rules()
	if err != nil {
		return fault.Wrap("set up nftables", err)
	}
	defer call.CloseRules(conn, call.Lately(c.Network))
	if err := conn.Allow(o); err != nil {
		return errors.Join(fault.Wrap("set up nftables", err), unopen(o))
	}
	if f == nil {
		return nil
	}
	if err := f.Add(o, k.zone); err != nil {
		return errors.Join(err, unopen(o))
	}
	return nil
}

// unopen takes back a change that may have been made although its answer was lost.
func unopen(o nft.Allowance) error {
	return rules.Clean(func(conn *nft.Conn) error { return conn.Revoke(o, nil) })
}

// check returns the first error in the configuration.
func (k *Keys) check(c *verbs.Call) error {
	if err := c.CheckFollows(k.err, "missing prevResult from earlier plugin"); err != nil {
		return err
	}
	if is := c.Prev.Interfaces; k.ingress != nft.IngressOpen && (len(is) == 0 || is[0].Name == "") {
		return fault.Expected("ingressPolicy", `interface needs to be set for ingress policy `+strconv.Quote(k.ingress.String())+
			`, make sure to chain "firewall" plugin with "bridge"`, "a bridge as prevResult's first interface")
	}
	return nil
}

// firewalld connects to the daemon if it must be told. nil means that the host's own tables are
// used.
func (k *Keys) firewalld() (*firewalld.Conn, error) {
	switch k.backend {
	case backendIPTables, backendNFTables:
		return nil, nil
	}
	f, err := firewalld.Dial()
	if err == nil && f == nil && k.backend == backendFirewalld {
		err = fault.Because(fault.Key("backend", "system bus not found"), `"backend" is "firewalld", but firewalld doesn't run: start it, or leave the key out`)
	}
	return f, err
}

// isolatePorts makes the bridge separate the container's ports from other isolated ones. The
// ruleset sees packets that the host routes. It sees bridged ones only if br_netfilter is loaded.
func isolatePorts(call *process.Call, prev *spec.Result, bridge string) error {
	conn, err := call.Route()
	if err != nil {
		return fault.Wrap("open a netlink socket", err)
	}
	defer call.CloseRoute(conn)
	master, err := conn.Link(bridge)
	if fault.Absent(err) {
		return nil // it has no ports either
	}
	if err != nil {
		return fault.Wrap("look up "+strconv.Quote(bridge), err)
	}
	var b rtnl.Batch
	for _, i := range prev.Interfaces[1:] {
		if i.Sandbox != "" {
			continue
		}
		if l, err := conn.Link(i.Name); err == nil && l.Master == master.Index {
			b.Set(rtnl.Port{Link: l.Index, Isolated: rtnl.On})
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return fault.Wrap("isolate the port of "+strconv.Quote(bridge), conn.Do(&b))
}

// Del takes the way back.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	o := k.opening(c, a)
	// The bridge's policy belongs to other containers as well.
	o.Bridge, o.Ingress = "", nft.IngressOpen
	call := process.Of(ctx)
	conn, err := call.Rules()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer call.CloseRules(conn, true)
	return fault.Unsupported(conn.Revoke(o, firewalld.ForgetIn(k.zone)))
}

// Check finds out whether the way is open.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := k.check(c); err != nil {
		return err
	}
	f, err := k.firewalld()
	if err != nil {
		return err
	}
	defer f.Close()
	o := k.opening(c, a)
	o.Delegated = f != nil
	if err := rules.Check(process.Of(ctx), func(conn *nft.Conn) error { return conn.CheckAllowance(o) }); err != nil {
		return err
	}
	if f == nil {
		return nil
	}
	return f.Check(o, k.zone)
}

// GC removes the openings of attachments that aren't valid.
func (k *Keys) GC(_ context.Context, c *verbs.Call, valid []spec.Attachment) error {
	return rules.Clean(func(conn *nft.Conn) error {
		return conn.RevokeExcept(c.Network, c.Owners(valid), firewalld.ForgetIn(k.zone))
	})
}

// Reclaim has nothing to do: the openings of dead attachments end with their leases.
func (k *Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status reports whether the next Add can be expected to succeed.
func (k *Keys) Status(ctx context.Context, c *verbs.Call) error {
	if k.err != nil {
		return k.err
	}
	f, err := k.firewalld()
	if err != nil {
		return fault.Unavailable("firewalld can't be used", err)
	}
	f.Close()
	call := process.Of(ctx)
	conn, err := call.Rules()
	if err == nil {
		defer call.CloseRules(conn, false)
		for _, err = range conn.Allowed(c.Network) {
			break // the kernel can list them
		}
	}
	if err != nil {
		return fault.Unavailable("nftables can't be used", err)
	}
	return statusLegacy(conn, c.Network)
}
