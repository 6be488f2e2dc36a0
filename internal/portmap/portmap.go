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
	if err := netns.RefuseOwn(a); err != nil {
		return nil, err
	}
	p := k.publication(c, a)
	if len(p.Ports) > 0 && len(p.Addrs) > 0 {
		if err := publish(process.Of(ctx), c, p); err != nil {
			return nil, err
		}
	}
	return c.PassOn(), nil
}

// publication says what the owner's ports are: to the first address of each family that's the attachment's own.
func (k *Keys) publication(c *verbs.Call, a spec.Attachment) nft.Publication {
	p := nft.Publication{
		Owner:   c.Owner(a),
		Ports:   k.ports,
		Hairpin: k.snat, MasqueradeAll: k.snat && k.masqAll,
		Conditions4: k.conditions[0], Conditions6: k.conditions[1],
	}
	// The firewall plugin's bit is cleared on the way: who asks for that one gets the usual one.
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

// publish makes the mappings, and ends the flows that would go on without them. On an error nothing is left.
func publish(call *process.Call, c *verbs.Call, p nft.Publication) error {
	conn, err := nft.Dial()
	if err != nil {
		return fault.Wrap("set up nftables", err)
	}
	defer call.Close(conn, call.Lately(c.Network))
	var waiting []nft.PortTakenError
	var taken *nft.PortTakenError
	switch waiting, err = publishPorts(c, conn, p); {
	case errors.As(err, &taken):
		return &spec.Error{Code: spec.CodePortTaken, Msg: "host port " + taken.Mapping.HostText() + " is taken by " + takenBy(taken) +
			", and leads to " + taken.Target.String(), Details: "DEL of that container, or GC, frees it", Key: "runtimeConfig.mappings", Err: err}
	case err != nil:
		return errors.Join(fault.Wrap("set up nftables", err), unpublish(p))
	}
	if err := localhost(p); err != nil {
		return errors.Join(err, unpublish(p))
	}
	flows.EndStale(p, waiting)
	return nil
}

// unpublish takes back what may have been done though its answer was lost, by another socket, which no answer waits at.
func unpublish(p nft.Publication) error {
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer conn.Close()
	_, err = conn.Unpublish(p)
	return fault.Unsupported(err)
}

func takenBy(e *nft.PortTakenError) string {
	if e.Holder == (nft.Owner{}) {
		return "another program's element in the table inet swiftcni"
	}
	return "container " + e.Holder.ContainerID + ", interface " + e.Holder.IfName + " of network " + strconv.Quote(e.Holder.Network)
}

// localhost lets the host reach a container by 127.0.0.1: the link that leads to it may carry such packets. Where none does
// there's nothing to let.
func localhost(p nft.Publication) error {
	for _, a := range p.Addrs {
		if !a.Addr().Is4() || !p.Hairpin {
			continue
		}
		conn, err := rtnl.Dial(nil)
		if err != nil {
			return fault.Wrap("open a netlink socket", err)
		}
		defer conn.Close()
		link, _, err := conn.RouteTo(a.Addr())
		if refused := new(rtnl.Error); errors.As(err, &refused) {
			return nil // the kernel knows no way there
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
	p := k.publication(c, a)
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	removed, err := conn.Unpublish(p)
	defer process.Of(ctx).Close(conn, len(removed) > 0)
	flows.EndRemoved(removed)
	return fault.Unsupported(err)
}

// Check finds out whether the mappings are there.
func (k *Keys) Check(_ context.Context, c *verbs.Call, a spec.Attachment) error {
	if err := c.CheckFollows(k.err, "Required prevResult missing"); err != nil {
		return err
	}
	p := k.publication(c, a)
	if len(p.Ports) == 0 || len(p.Addrs) == 0 {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return fault.Wrap("check nftables", err)
	}
	defer conn.Close()
	err = conn.CheckPublication(p)
	var missing *nft.MissingError
	if errors.As(err, &missing) {
		return &spec.Error{Code: spec.CodeInternal, Msg: "ruleset: " + err.Error(), Err: err}
	}
	return fault.Wrap("check nftables", err)
}

// GC removes the mappings of attachments that aren't valid. Without a list nobody is known to be dead.
func (k *Keys) GC(_ context.Context, c *verbs.Call, valid []spec.Attachment) error {
	if valid == nil {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return fault.Unsupported(err)
	}
	defer conn.Close()
	removed, err := conn.UnpublishExcept(c.Network, c.Owners(valid))
	flows.EndRemoved(removed)
	return fault.Unsupported(err)
}

// Status says whether the next Add can be expected to succeed.
func (k *Keys) Status(_ context.Context, c *verbs.Call) error {
	if k.err != nil {
		return k.err
	}
	conn, err := nft.Dial()
	if err == nil {
		defer conn.Close()
		// What nobody has is missing, if the kernel can look for it at all.
		err = conn.CheckPublication(nft.Publication{Owner: nft.Owner{Network: c.Network, ContainerID: "nobody", IfName: "none"},
			Addrs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}, Ports: []nft.PortMapping{{Protocol: nft.TCP, HostPort: 1, ContainerPort: 1}}})
	}
	if err != nil && !fault.Absent(err) {
		return fault.Unavailable("nftables can't be used", err)
	}
	return nil
}
