// SPDX-License-Identifier: Apache-2.0

// Package portmap is the plugin that leads from ports of the host to ports of a container.
package portmap

import (
	"context"
	"errors"
	"net/netip"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/flows"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/rules"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// Add makes the mappings.
func (k *Keys) Add(ctx context.Context, c *verbs.Call, a spec.Attachment) (*spec.Result, error) {
	if err := c.CheckFollows(fault.During("failed to parse config", k.err), "must be called as chained plugin"); err != nil {
		return nil, err
	}
	if err := netns.RefuseOwn(process.Of(ctx), a); err != nil {
		return nil, err
	}
	p := k.publication(c, a)
	if len(p.Ports) > 0 && len(p.Addrs) > 0 {
		if err := publish(ctx, c, p); err != nil {
			return nil, err
		}
	}
	return c.PassOn(), nil
}

// publication returns the owner's ports. They lead to the first address of each family that belongs
// to the attachment.
func (k *Keys) publication(c *verbs.Call, a spec.Attachment) nft.Publication {
	p := nft.Publication{
		Owner:   c.Owner(a),
		Ports:   k.ports,
		Hairpin: k.snat, MasqueradeAll: k.snat && k.masqAll,
		Conditions4: k.conditions[0], Conditions6: k.conditions[1],
	}
	// The firewall plugin's bit is cleared on the way. If a configuration asks for it, it gets the
	// usual one.
	if mark := uint32(1) << max(k.markBit, 0); k.hasMarkBit && mark != nft.AcceptMark {
		p.Mark = mark
	}
	if c.Prev == nil {
		return p
	}
	p.Note = noteOf(c, a)
	var has [2]bool
	for _, ip := range c.Prev.IPs {
		if i := ip.Interface; i >= 0 && i < len(c.Prev.Interfaces) &&
			(c.Prev.Interfaces[i].Name != a.IfName || c.Prev.Interfaces[i].Sandbox == "") {
			continue
		}
		family := 1
		if ip.Address.Addr().Is4() {
			family = 0
		}
		if !has[family] && ip.Address.Bits() > 0 {
			has[family] = true
			p.Addrs = append(p.Addrs, ip.Address)
		}
	}
	return p
}

// publish makes the mappings, and ends the flows that would otherwise go on. On an error nothing is
// left.
func publish(ctx context.Context, c *verbs.Call, p nft.Publication) error {
	call := process.Of(ctx)
	conn, err := call.Rules()
	if err != nil {
		return fault.Wrap("set up nftables", err)
	}
	defer call.CloseRules(conn, call.Lately(c.Network))
	var waiting []nft.PortTakenError
	var taken *nft.PortTakenError
	switch waiting, err = publishPorts(ctx, c, conn, p); {
	case errors.As(err, &taken):
		return &spec.Error{Code: spec.CodePortTaken, Msg: "host port " + taken.Mapping.HostText() + " is taken by " + takenBy(taken) +
			", and leads to " + taken.Target.String(), Details: "DEL of that container, or GC, frees it", Key: "runtimeConfig.mappings", Err: err}
	case err != nil:
		return errors.Join(fault.Wrap("set up nftables", err), unpublish(p))
	}
	if err := localhost(call, p); err != nil {
		return errors.Join(err, unpublish(p))
	}
	flows.EndStale(call, p, waiting)
	return nil
}

// unpublish takes back mappings that may have been made although the answer was lost.
func unpublish(p nft.Publication) error {
	return rules.Clean(func(conn *nft.Conn) error {
		_, err := conn.Unpublish(p)
		return err
	})
}

func takenBy(e *nft.PortTakenError) string {
	if e.Holder == (nft.Owner{}) {
		return "another program's element in the table inet swiftcni"
	}
	return "container " + e.Holder.ContainerID + ", interface " + e.Holder.IfName + " of network " + strconv.Quote(e.Holder.Network)
}

// localhost lets the host reach a container by 127.0.0.1: the link that leads to it may carry such
// packets. If no link does, there is nothing to do.
func localhost(call *process.Call, p nft.Publication) error {
	for _, a := range p.Addrs {
		if !a.Addr().Is4() || !p.Hairpin {
			continue
		}
		conn, err := call.Route()
		if err != nil {
			return fault.Wrap("open a netlink socket", err)
		}
		defer call.CloseRoute(conn)
		link, _, err := conn.RouteTo(a.Addr())
		if refused := new(rtnl.Error); errors.As(err, &refused) {
			return nil // the kernel knows no route there
		}
		if err != nil {
			return fault.Wrap("find the link to the container", err)
		}
		name, err := conn.Name(link)
		if fault.Absent(err) {
			return nil
		}
		if err != nil {
			return fault.Wrap("find the link to the container", err)
		}
		key := sysctl.IPv4(name, "route_localnet")
		if now, err := sysctl.Read(key); err == nil && now == "1" {
			return nil
		}
		return fault.Wrap("let "+strconv.Quote(name)+" carry the host's 127.0.0.1", sysctl.Write(key, "1"))
	}
	return nil
}

// Del takes the mappings back.
func (k *Keys) Del(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	p, call := k.publication(c, a), process.Of(ctx)
	conn, err := call.Rules()
	if err != nil {
		return fault.Unsupported(err)
	}
	removed, err := conn.Unpublish(p)
	defer call.CloseRules(conn, len(removed) > 0)
	flows.EndRemoved(call, removed)
	return fault.Unsupported(err)
}

// Check finds out whether the mappings exist.
func (k *Keys) Check(ctx context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := c.CheckFollows(k.err, "Required prevResult missing"); err != nil {
		return err
	}
	p := k.publication(c, a)
	if len(p.Ports) == 0 || len(p.Addrs) == 0 {
		return nil
	}
	return rules.Check(process.Of(ctx), func(conn *nft.Conn) error { return conn.CheckPublication(p) })
}

// GC removes the mappings of attachments that aren't valid.
func (k *Keys) GC(ctx context.Context, c *verbs.Call, valid []spec.Attachment) error {
	return rules.Clean(func(conn *nft.Conn) error {
		removed, err := conn.UnpublishExcept(c.Network, c.Owners(valid))
		flows.EndRemoved(process.Of(ctx), removed)
		return err
	})
}

// Reclaim has nothing to do. The mappings of dead attachments end with their leases, or when another
// attachment asks for the port.
func (k *Keys) Reclaim(context.Context, *verbs.Call) error { return nil }

// Status reports whether the next Add can be expected to succeed.
func (k *Keys) Status(ctx context.Context, c *verbs.Call) error {
	if k.err != nil {
		return k.err
	}
	call := process.Of(ctx)
	conn, err := call.Rules()
	if err == nil {
		defer call.CloseRules(conn, false)
		// This publication belongs to nobody. It's missing if the kernel can look for it at all.
		err = conn.CheckPublication(nft.Publication{Owner: nft.Owner{Network: c.Network, ContainerID: "nobody", IfName: "none"},
			Addrs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}, Ports: []nft.PortMapping{{Protocol: nft.TCP, HostPort: 1, ContainerPort: 1}}})
	}
	if err != nil && !fault.Absent(err) {
		return fault.Unavailable("nftables can't be used", err)
	}
	return nil
}
