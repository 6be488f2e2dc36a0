// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"cmp"
	"errors"
	"io/fs"
	"net"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/order"
	"github.com/swiftcni/swiftcni/rtnl"
)

// mergeVLANs returns the same IDs in order, without duplicates, in the fewest ranges.
func mergeVLANs(ranges []vlanRange) []vlanRange {
	order.By(ranges, func(a, b vlanRange) int { return cmp.Compare(a.first, b.first) })
	var merged []vlanRange
	for _, r := range ranges {
		if last := len(merged) - 1; last >= 0 && r.first <= merged[last].last+1 {
			merged[last].last = max(merged[last].last, r.last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// vlanGatewayName is the link that holds the gateway's addresses in a VLAN.
func vlanGatewayName(bridge string, vlan int) string { return bridge + "." + strconv.Itoa(vlan) }

// ensureVLANGateway makes the VLAN's gateway once: a pair of links in the host's namespace, one end a port of
// the bridge in that VLAN, the other, BRIDGE.VLAN, with the gateway's addresses.
func (at *attaching) ensureVLANGateway(bridge int) error {
	k := &at.network.bridge
	name := vlanGatewayName(k.name, k.vlan)
	index, err := at.conn.Index(name)
	if absent(err) {
		if err := at.createVLANGateway(bridge, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return failed("failed to create vlan gateway "+quote(name), err)
		}
		index, err = at.conn.Index(name)
	}
	if err != nil {
		return failed("failed to lookup "+quote(name), err)
	}
	var b rtnl.Batch
	for _, gw := range at.plan.gateways {
		b.Create(k.gatewayAddr(index, gw))
	}
	added, err := at.sortRefusals(at.conn.Do(&b), at.plan.gateways)
	if err == nil && len(added) > 0 {
		err = at.settleGateways(index, name, added)
	}
	if err != nil {
		return failed("failed to set vlan interface for bridge with addr", err)
	}
	at.tellHost(index)
	return nil
}

// createVLANGateway derives its names as an attachment's are, from an owner that no container can have.
func (at *attaching) createVLANGateway(bridge int, name string) error {
	k := &at.network.bridge
	nm := names.Of("", k.name, name, 0)
	mac := net.HardwareAddr(append([]byte{0xfe}, nm.MAC[1:]...))
	mac[5] ^= 1
	var b rtnl.Batch
	b.Create(rtnl.Veth{
		Link: rtnl.Link{Index: nm.Index, Name: nm.Link, MAC: nm.MAC, MTU: max(k.mtu, 0), Queues: k.queues, Master: bridge, State: rtnl.Up},
		Peer: rtnl.Link{Index: nm.Peer, Name: name, MAC: mac, MTU: max(k.mtu, 0), Queues: k.queues},
	})
	b.Set(rtnl.Link{Index: nm.Peer, State: rtnl.Up})
	portVLANs(&b, nm.Index, k.vlan, nil, k.keepDefaultVLAN)
	if err := at.conn.Do(&b); err != nil {
		return err
	}
	return errors.Join(at.conn.WaitUp(nm.Index, portTimeout), at.conn.WaitUp(nm.Peer, portTimeout))
}

func (b *bridgeKeys) parseVLAN(r *jsontext.Reader) error {
	if err := r.Integer(&b.vlan); err != nil {
		return err
	}
	if b.vlan < 0 || b.vlan > maxVLAN {
		fault.Note(r, invalidKey("vlan", "invalid VLAN ID "+strconv.Itoa(b.vlan)+" (must be between 0 and 4094)"))
		b.vlan = 0
	}
	return nil
}

// parseTrunk reads items of {id}, {minID, maxID} or both, and says what is wrong in the reference's words.
func (b *bridgeKeys) parseTrunk(r *jsontext.Reader) error {
	b.trunk = nil
	present, err := r.List(func() error {
		var id, low, high = -1, -1, -1
		err := r.Object(func(key string) error {
			switch key {
			case "id":
				return r.Integer(&id)
			case "minid":
				return r.Integer(&low)
			case "maxid":
				return r.Integer(&high)
			}
			return nil
		})
		if problem := trunkProblem(id, low, high); problem != "" {
			r.Wrong(problem, "")
			return err
		}
		if id > 0 {
			b.trunk = append(b.trunk, vlanRange{id, id})
		}
		if low > 0 {
			b.trunk = append(b.trunk, vlanRange{low, high})
		}
		return err
	})
	b.hasTrunk = present
	b.trunk = mergeVLANs(b.trunk)
	return err
}

// trunkProblem checks an item; -1 is a key that isn't there.
func trunkProblem(id, low, high int) string {
	bad := func(v int) bool { return v != -1 && (v < 1 || v > maxVLAN) }
	switch {
	case low == -1 && high != -1:
		return "minID and maxID should be configured simultaneously, minID is missing"
	case low != -1 && high == -1:
		return "minID and maxID should be configured simultaneously, maxID is missing"
	case bad(low):
		return "incorrect trunk minID parameter"
	case bad(high):
		return "incorrect trunk maxID parameter"
	case low > high:
		return "minID is greater than maxID in trunk parameter"
	case bad(id):
		return "incorrect trunk id parameter"
	}
	return ""
}
