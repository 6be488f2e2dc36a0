// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"context"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// An Outcome is what became of one of many attachments: a result, or an *Error.
type Outcome struct {
	Result *Result
	Err    error
}

// AttachAll is [Attach] for many containers of one network at once, as when a host starts: the
// lease store is locked once, all links are made by a send for each 40 of them, all elements by one
// transaction, and each container's side by a send of its own. The outcomes are in the attachments'
// order.
//
// Each attachment succeeds or fails by itself: what fails is taken back and doesn't concern the
// others. Errors and waits are those of [Attach]. An address that two of them want is the first
// one's. A network of another plugin than bridge, with a chain, or with an IPAM plugin that is a
// program of its own, is attached to one by one.
func AttachAll(ctx context.Context, n *Network, list []Attachment) []Outcome {
	outcomes := make([]Outcome, len(list))
	crowd, ok := n.room.(verbs.Crowd)
	if !ok || n.err != nil || n.members != nil {
		for i, a := range list {
			outcomes[i].Result, outcomes[i].Err = Attach(ctx, n, a)
		}
		return outcomes
	}
	results, errs := crowd.AddAll(ctx, &n.told, list)
	for i := range outcomes {
		outcomes[i] = Outcome{results[i], fault.Join(errs[i])}
	}
	return outcomes
}
