// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"iter"
)

// A VRF is a link whose ports route by a table of their own. A link becomes its port by
// [Link].Master. It loses its IPv6 addresses then, unless the sysctl keep_addr_on_down keeps them,
// and its routes that the kernel didn't make. Set changes a VRF's Link alone, and Ensure of one that
// exists is refused, since its table can't change.
type VRF struct {
	Link
	// Table is the table that it routes by. It's needed.
	Table uint32
}

// ErrNotVRF is the error for a link that isn't a VRF.
var ErrNotVRF = errors.New("rtnl: not a vrf")

func (r VRF) kindLink() kindLink {
	return kindLink{Link: r.Link, kind: vrf, option: uint64(r.Table) + 1}
}

func (k *kindLink) vrf() VRF { return VRF{Link: k.Link, Table: uint32(max(k.option, 1) - 1)} }

// VRF returns the VRF with a name. The error for a missing link is [io/fs.ErrNotExist], and for a
// link of another kind [ErrNotVRF].
func (c *Conn) VRF(name string) (VRF, error) {
	k, err := c.getKind(name, vrf, ErrNotVRF)
	return k.vrf(), err
}

// VRFs lists the VRFs of the conn's namespace. A kernel that knows no VRF lists none. Errors:
// [*Error], [ErrInterrupted].
func (c *Conn) VRFs() iter.Seq2[VRF, error] {
	// The kernel takes no notice of a kind that it doesn't know, and then lists everything.
	return dump(c, "list vrfs", func() { c.requestLinks(nil, LinkFilter{Kind: "vrf"}) }, func(b []byte, add func(VRF)) error {
		m, err := decodeLink(b)
		if err != nil || m.Kind != "vrf" {
			return err
		}
		k, err := m.kindLink()
		if err == nil {
			add(k.vrf())
		}
		return err
	})
}

func (VRF) write(*words) {} // what a batch prints is a [kindLink]
