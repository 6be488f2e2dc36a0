// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/verbs"
)

// Explain tells what [Attach] would do now for an attachment, one change a line behind the place
// where it happens, and changes nothing. It tells the plugins that make or lend links, and vrf; others
// of a list are passed over. The container's namespace needn't exist.
// Addresses are those that the next ADD would get, if no other comes before it; those of an IPAM
// plugin that would have to be run aren't known. Its error is that of ADD, as far as it can be
// foreseen. It waits for no lock: it copies the leases, which takes longer the more there are.
func Explain(n *Network, a Attachment) (string, error) {
	if n.err != nil {
		return "", n.err
	}
	text := ""
	for _, room := range n.rooms() {
		e, ok := room.(verbs.Explainer)
		if !ok {
			continue
		}
		more, err := e.Explain(a)
		if err != nil {
			return "", fault.Join(err)
		}
		text += more
	}
	if text == "" {
		return "", fault.Key("type", "no plugin has a plan that can be told")
	}
	return text, nil
}

// rooms are those of a plugin or, in order, of a list.
func (n *Network) rooms() (list []verbs.Plugin) {
	if n.room != nil {
		list = append(list, n.room)
	}
	for _, m := range n.members {
		if m.network != nil {
			list = append(list, m.network.rooms()...)
		}
	}
	return list
}
