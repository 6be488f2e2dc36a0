// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"errors"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netns"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/result"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

// The plugin portmap leads from ports of the host to ports of a container that another plugin has attached.

func addPortmap(ctx context.Context, n *Network, a Attachment) (*Result, error) {
	k := n.portmap()
	if err := n.checkChained(fault.During("failed to parse config", k.err), "must be called as chained plugin"); err != nil {
		return nil, err
	}
	if err := netns.RefuseOwn(a); err != nil {
		return nil, err
	}
	p := k.publication(n, a)
	if len(p.Ports) > 0 && len(p.Addrs) > 0 {
		if err := n.publish(process.Of(ctx), p); err != nil {
			return nil, err
		}
	}
	return n.passOn(), nil
}

// checkChained says what is wrong with what a plugin is given that follows another: wrong is what's wrong with its keys,
// and missing what it says of a prevResult that isn't there.
func (n *Network) checkChained(wrong *Error, missing string) error {
	switch {
	case n.prevErr != nil:
		return n.prevErr
	case wrong != nil:
		return wrong
	case n.prev == nil:
		return fault.Expected("prevResult", missing, "the result of the plugin before")
	}
	return nil
}

// passOn is the previous plugin's result, in the configuration's version: as it came where it has that.
func (n *Network) passOn() *Result {
	if n.prev.CNIVersion == n.cniVersion && hasVersion(n.prevRaw) {
		return n.prev
	}
	return result.In(n.prev, n.cniVersion)
}

// hasVersion reports whether a result says its version itself.
func hasVersion(text []byte) bool {
	has := false
	r := jsontext.NewReader(text, "")
	_ = r.Object(func(key string) error {
		has = has || key == "cniversion"
		return nil
	})
	return has
}

// publication says what the owner's ports are: to the first address of each family that's the attachment's own.
func (k *portmapKeys) publication(n *Network, a Attachment) nft.Publication {
	p := nft.Publication{
		Owner:   n.rulesOwner(names.Lessee(a)),
		Ports:   k.ports,
		Hairpin: k.snat, MasqueradeAll: k.snat && k.masqAll,
		Conditions4: k.conditions[0], Conditions6: k.conditions[1],
	}
	// The firewall plugin's bit is cleared on the way: who asks for that one gets the usual one.
	if mark := uint32(1) << max(k.markBit, 0); k.hasMarkBit && mark != nft.AcceptMark {
		p.Mark = mark
	}
	if n.prev == nil {
		return p
	}
	p.Note = n.noteOf(a)
	var has [2]bool
	for _, ip := range n.prev.IPs {
		if i := ip.Interface; i >= 0 && i < len(n.prev.Interfaces) &&
			(n.prev.Interfaces[i].Name != a.IfName || n.prev.Interfaces[i].Sandbox == "") {
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
func (n *Network) publish(call *process.Call, p nft.Publication) error {
	conn, err := nft.Dial()
	if err != nil {
		return failed("set up nftables", err)
	}
	defer call.Close(conn, call.Lately(n.name))
	var waiting []nft.PortTakenError
	var taken *nft.PortTakenError
	switch waiting, err = n.publishPorts(conn, p); {
	case errors.As(err, &taken):
		return &Error{Code: CodePortTaken, Msg: "host port " + taken.Mapping.HostText() + " is taken by " + takenBy(taken) +
			", and leads to " + taken.Target.String(), Details: "DEL of that container, or GC, frees it", Key: "runtimeConfig.portMappings", Err: err}
	case err != nil:
		return errors.Join(failed("set up nftables", err), unpublish(p))
	}
	if err := localhost(p); err != nil {
		return errors.Join(err, unpublish(p))
	}
	forgetStale(p, waiting)
	return nil
}

// unpublish takes back what may have been done though its answer was lost, by another socket, which no answer waits at.
func unpublish(p nft.Publication) error {
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer conn.Close()
	_, err = conn.Unpublish(p)
	return ignoreUnsupported(err)
}

func takenBy(e *nft.PortTakenError) string {
	if e.Holder == (nft.Owner{}) {
		return "another program's element in the table inet swiftcni"
	}
	return "container " + e.Holder.ContainerID + ", interface " + e.Holder.IfName + " of network " + quote(e.Holder.Network)
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
			return failed("open a netlink socket", err)
		}
		defer conn.Close()
		link, _, err := conn.RouteTo(a.Addr())
		if refused := new(rtnl.Error); errors.As(err, &refused) {
			return nil // the kernel knows no way there
		}
		if err != nil {
			return failed("find the link to the container", err)
		}
		name, err := conn.Name(link)
		if absent(err) {
			return nil
		}
		if err != nil {
			return failed("find the link to the container", err)
		}
		key := sysctl.IPv4(name, "route_localnet")
		if now, err := sysctl.Read(key); err == nil && now == "1" {
			return nil
		}
		return failed("let "+quote(name)+" carry the host's 127.0.0.1", sysctl.Write(key, "1"))
	}
	return nil
}

func delPortmap(ctx context.Context, n *Network, a Attachment) error {
	p := n.portmap().publication(n, a)
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	removed, err := conn.Unpublish(p)
	defer process.Of(ctx).Close(conn, len(removed) > 0)
	forgetRemoved(removed)
	return ignoreUnsupported(err)
}

func checkPortmap(_ context.Context, n *Network, a Attachment, _ *Result) error {
	k := n.portmap()
	if err := n.checkChained(k.err, "Required prevResult missing"); err != nil {
		return err
	}
	p := k.publication(n, a)
	if len(p.Ports) == 0 || len(p.Addrs) == 0 {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return failed("check nftables", err)
	}
	defer conn.Close()
	err = conn.CheckPublication(p)
	var missing *nft.MissingError
	if errors.As(err, &missing) {
		return &Error{Code: CodeInternal, Msg: "ruleset: " + err.Error(), Err: err}
	}
	return failed("check nftables", err)
}

// gcPortmap removes the mappings of attachments that aren't valid. Without a list nobody is known to be dead.
func gcPortmap(_ context.Context, n *Network, valid []Attachment) error {
	if valid == nil {
		return nil
	}
	conn, err := nft.Dial()
	if err != nil {
		return ignoreUnsupported(err)
	}
	defer conn.Close()
	removed, err := conn.UnpublishExcept(n.name, n.rulesOwners(valid))
	forgetRemoved(removed)
	return ignoreUnsupported(err)
}

func statusPortmap(_ context.Context, n *Network) error {
	if err := n.portmap().err; err != nil {
		return err
	}
	conn, err := nft.Dial()
	if err == nil {
		defer conn.Close()
		// What nobody has is missing, if the kernel can look for it at all.
		err = conn.CheckPublication(nft.Publication{Owner: nft.Owner{Network: n.name, ContainerID: "nobody", IfName: "none"},
			Addrs: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}, Ports: []nft.PortMapping{{Protocol: nft.TCP, HostPort: 1, ContainerPort: 1}}})
	}
	if err != nil && !absent(err) {
		return unavailable("nftables can't be used", err)
	}
	return nil
}
