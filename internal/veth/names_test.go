// SPDX-License-Identifier: Apache-2.0

package veth

import (
	"testing"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
)

// A link whose index an earlier version chose is the attachment's own.
func TestEarlierPeerIndex(t *testing.T) {
	nm := names.Of("net", "c1", "eth0", 0)
	d := detaching{keys: &Keys{conf: &netconf.Network{Name: "net"}}, attachment: spec.Attachment{ContainerID: "c1", IfName: "eth0"}}
	for index, want := range map[int]bool{nm.Peer: false, nm.Index + 1: false, nm.Index + 3: true, 7: false} {
		if got := d.isAnothers(index); got != want {
			t.Errorf("index %d is another's: %v", index, got)
		}
	}
}
