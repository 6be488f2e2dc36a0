// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/sysctl"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
	"github.com/swiftcni/swiftcni/rtnl"
)

func statusBridged(ctx context.Context, n *Network) error {
	if err := n.checkBridge(); err != nil {
		return err
	}
	if err := n.statusIPAM(ctx); err != nil {
		return err
	}
	if err := n.statusRules(); err != nil {
		return err
	}
	return n.statusBridge()
}

func (n *Network) statusIPAM(ctx context.Context) error {
	switch n.ipam.plugin {
	case "":
		return nil
	case hostLocal:
		return n.statusLocal(ctx)
	case static:
		return statusStatic(ctx, n)
	}
	if _, err := n.findDelegate(ctx); err != nil {
		return unavailable("the IPAM plugin can't be run", err)
	}
	return n.delegate(ctx, "STATUS", Attachment{})
}

func (n *Network) statusLocal(ctx context.Context) error {
	if _, err := n.ipam.readResolvConf(); err != nil {
		return unavailable("the network's resolvConf can't be read", err)
	}
	store, err := ipam.OpenReadOnly(ctx, n.ipam.dataDir, n.name)
	if err == nil {
		err = store.Close()
	}
	if err == nil || absent(err) {
		err = fault.Writable(n.ipam.dataDir)
	}
	if err != nil {
		return unavailable("the lease store can't be used", err)
	}
	return nil
}

func (n *Network) statusRules() error {
	if !n.bridge.ipMasq && !n.bridge.macSpoofCheck {
		return nil
	}
	conn, err := nft.Dial()
	if err == nil {
		defer conn.Close()
		// What nobody has is missing, if the kernel can look for it at all.
		nobody := nft.Sender{Owner: nft.Owner{Network: n.name, ContainerID: "nobody", IfName: "none"}, Masquerade: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}}
		err = conn.CheckSender(nobody)
	}
	if err != nil && !absent(err) {
		return unavailable("nftables can't be used", err)
	}
	return nil
}

// statusBridge looks at a bridge that's there: what it lacks, its containers lack as well.
func (n *Network) statusBridge() error {
	k := &n.bridge
	conn, err := rtnl.Dial(nil)
	if err != nil {
		return unavailable("rtnetlink can't be used", err)
	}
	defer conn.Close()
	l, err := conn.Link(k.name)
	switch {
	case absent(err):
		return nil
	case err != nil:
		return unavailable("the bridge can't be looked at", err)
	case l.Kind != "bridge":
		return unavailable(quote(k.name)+" already exists but is not a bridge", nil)
	case l.State != rtnl.Up:
		return &Error{Code: CodeLimited, Msg: "bridge " + quote(k.name) + " is down", Key: "bridge"}
	}
	if on, err := sysctl.Read("net/ipv4/ip_forward"); k.gateway() && n.hasAddresses() && err == nil && on != "1" {
		return &Error{Code: CodeLimited, Msg: "net.ipv4.ip_forward is off: containers reach nothing beyond the bridge", Key: "isGateway"}
	}
	return nil
}
