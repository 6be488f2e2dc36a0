// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/calls"
)

// An IPAM plugin that is a program of its own may have to find the addresses in the network, as dhcp does: by packets of
// the container, to a server behind the bridge. So it's asked when the link is there and its port forwards, with the MAC
// that the container keeps. A link that can't be made shows before anybody is asked, and an answer that turns out to be
// of no use is given back from a link that's still there.

// toBridgeAsking makes an attachment to a bridge whose addresses another program gives.
func (at *attaching) toBridgeAsking(ctx context.Context) (*Result, error) {
	at.planAsking()
	if err := inOrder(at.hostSide, at.rules, at.containerSide, at.portUp); err != nil {
		return nil, err
	}
	if err := at.ask(ctx); err != nil {
		return nil, err
	}
	if err := inOrder(at.plan.checkGateways, at.unlock, at.containerSide, at.gatewaySide, at.rules, at.awaitIPv6, at.announce); err != nil {
		return nil, err
	}
	return at.result()
}

// toHostAsking makes an attachment to the host itself whose addresses another program gives.
func (at *attaching) toHostAsking(ctx context.Context) (*Result, error) {
	at.planAsking()
	at.plan.pointToPoint()
	if err := inOrder(at.ptpHostSide, at.containerSide, at.portUp); err != nil {
		return nil, err
	}
	if err := at.ask(ctx); err != nil {
		return nil, err
	}
	at.plan.pointToPoint()
	sides := []func() error{at.plan.checkPtP, at.unlock, at.hostForwarding, at.ptpHostSide, at.rules, at.containerSide}
	if at.sharesNetNS() {
		sides = []func() error{at.plan.checkPtP, at.unlock, at.hostForwarding, at.containerSide, at.ptpHostSide, at.rules}
	}
	if err := inOrder(append(sides, at.awaitIPv6, at.announce)...); err != nil {
		return nil, err
	}
	return at.ptpResult(), nil
}

// planAsking plans an attachment as far as it can be without addresses.
func (at *attaching) planAsking() {
	at.enter(calls.Links)
	at.plan = newPlan(at.network, at.attachment, at.names, &Result{}, at.mac, at.seed())
	at.plan.asks = true
}

// ask gets the addresses, and plans what is left to do.
func (at *attaching) ask(ctx context.Context) error {
	at.enter(calls.Lease)
	addrs, err := at.reserve(ctx)
	if err != nil {
		return err
	}
	at.plan = newPlan(at.network, at.attachment, at.names, addrs, at.plan.mac, "")
	at.plan.announce, at.plan.asked = true, true
	return nil
}
