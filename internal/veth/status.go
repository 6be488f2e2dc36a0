// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"context"
	"net/netip"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/process"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
)

// Status says whether the next Add can be expected to succeed.
func (k *Keys) Status(ctx context.Context, c *verbs.Call) error {
	if err := k.side().problem(k.conf); err != nil {
		return err
	}
	if from := k.addresses(); from != nil {
		if err := from.Status(ctx, c); err != nil {
			return err
		}
	}
	if err := k.statusRules(process.Of(ctx)); err != nil {
		return err
	}
	return k.side().status(k.conf)
}

func (k *Keys) statusRules(call *process.Call) error {
	if !k.conf.Link.MasqueradesAny() && !k.guard {
		return nil
	}
	conn, err := call.Rules()
	if err == nil {
		defer call.CloseRules(conn, false)
		// An element that nobody has is missing, if the kernel can look for it at all.
		nobody := nft.Sender{Owner: nft.Owner{Network: k.conf.Name, ContainerID: "nobody", IfName: "none"},
			Masquerade: []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 32)}}
		err = conn.CheckSender(nobody)
	}
	if err != nil && !fault.Absent(err) {
		return fault.Unavailable("nftables can't be used", err)
	}
	return nil
}
