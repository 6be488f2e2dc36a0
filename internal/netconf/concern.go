// SPDX-License-Identifier: Apache-2.0

package netconf

import (
	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
)

// A Concern is whose keys a fault of the configuration is in: a plugin judges what it reads, since
// what it has no use for may mean something else to another program.
type Concern uint16

// Several of them are joined by |.
const (
	OfEach       Concern = 1 << iota // every plugin reads them
	OfBridge                         // bridge alone
	OfLink                           // bridge and ptp
	OfMasquerade                     // ipMasqBackend
	OfMain                           // type and dns: what main plugins go by
	OfMAC                            // runtimeConfig.mac and args.cni.mac
	OfIPAM                           // host-local and static
	OfDHCP                           // dhcp, and whoever has it give addresses
	OfGC
)

// A keyFault is a key that's wrong.
type keyFault struct {
	of  Concern
	err *spec.Error
}

// Wrong returns the first fault that concerns somebody, or nil.
func (n *Network) Wrong(of Concern) *spec.Error {
	if !n.IPAM.IsOurs() {
		of &^= OfIPAM
	}
	if !n.Link.MasqueradesAny() {
		of &^= OfMasquerade
	}
	for _, f := range n.faults {
		if f.of&of != 0 {
			return f.err
		}
	}
	return nil
}

// about reads keys whose faults are somebody's concern.
func (n *Network) about(of Concern, r *jsontext.Reader, read func() error) error {
	was := r.First
	r.First = nil
	err := read()
	if r.First != nil {
		n.faults = append(n.faults, keyFault{of, fault.OfText(r.First)})
	}
	r.First = was
	return err
}
