// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// Explain tells what [Attach] by bridge or ptp would do now for an attachment, one change a line
// behind the place where it happens, and changes nothing. The container's namespace needn't exist.
// Addresses are those that the next ADD would get, if no other comes before it; those of an IPAM
// plugin that would have to be run aren't known. Its error is that of ADD, as far as it can be
// foreseen. It waits for no lock: it copies the leases, which takes longer the more there are.
func Explain(n *Network, a Attachment) (string, error) {
	if n.err != nil {
		return "", n.err
	}
	e := n.explainer()
	if e == nil {
		return "", fault.Key("type", "only bridge and ptp have a plan that can be told")
	}
	text, err := e.Explain(a)
	return text, fault.Join(err)
}

// explainer is the room of the first plugin that makes links, or nil.
func (n *Network) explainer() verbs.Explainer {
	if e, ok := n.room.(verbs.Explainer); ok {
		return e
	}
	for _, m := range n.members {
		if m.network == nil {
			continue
		}
		if e := m.network.explainer(); e != nil {
			return e
		}
	}
	return nil
}
