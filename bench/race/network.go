// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
)

// dataDir holds the leases of all networks, on the box's own tmpfs.
const dataDir = "/run/leases"

// A network is a network of containers, and the model of everything that all its attachments share.
type network struct {
	name, bridge, ifName string
	conf                 map[string]any
	ipam                 string         // directory of its leases; empty: it has no addresses
	subnets              []netip.Prefix // one address is given from each
	capacity             int            // addresses of the smallest subnet
	masquerade, guard    bool
	followers            []map[string]any // plugins after the bridge that are programs of their own
	chained              bool             // plugins are in the bridge's key chain
	static               bool             // the runtime tells the addresses
	share                int              // the part of all operations, relative to other networks

	// What the plugins after the bridge do: portmap, firewall, bandwidth, tuning.
	publishes, opens, limits, tunes bool

	// collection separates GC with a list from everything else, as the specification (section 2,
	// "GC") asks of runtimes.
	collection sync.RWMutex

	// Below, guarded by the model's lock.
	bridgeGone disturbance // its bridge was deleted
	bridgeSure bool        // the bridge is there and up
	adding     int         // ADDs at work
	released   int         // attachments that ended so far
	guests     []*guest
}

// networks makes the plan's networks: of eight kinds, in turn. Four of them are lists.
func (p *Plan) networks() ([]*network, error) {
	if p.Conf != "" {
		n, err := networkFrom(p.Conf)
		return []*network{n}, err
	}
	var list []*network
	for i := range p.Networks {
		list = append(list, p.network(i))
	}
	return list, nil
}

func (p *Plan) network(i int) *network {
	n := &network{name: fmt.Sprintf("race%d", i), bridge: fmt.Sprintf("br%d", i), ifName: fmt.Sprintf("eth%d", i)}
	n.conf = map[string]any{"cniVersion": "1.1.0", "name": n.name, "type": "bridge", "bridge": n.bridge}
	four := func(bits int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, byte(i), 0}), bits)
	}
	kind := i % 8
	if p.Lists {
		kind = 4 + i%4
	} else if p.Foreign {
		kind = i % 4
	}
	switch kind {
	case 0:
		n.share = 3
		n.addresses(four(26))
	case 1:
		n.masquerade, n.share = true, 4
		six := netip.AddrFrom16([16]byte{0xfd, 0x99, 15: 0, 7: byte(i)})
		n.addresses(four(25), netip.PrefixFrom(six, 112))
	case 2:
		n.masquerade, n.share = true, 2
		n.addresses(four(28))
	case 3:
		n.guard, n.share = true, 2
		n.conf["macspoofchk"] = true
	case 4:
		n.masquerade, n.share = true, 3
		six := netip.AddrFrom16([16]byte{0xfd, 0x99, 15: 0, 7: byte(i)})
		n.addresses(four(25), netip.PrefixFrom(six, 112))
		n.follow(true, "portmap", "firewall", "bandwidth", "tuning")
	case 5:
		n.share = 3
		n.addresses(four(26))
		n.follow(false, "portmap", "firewall", "tuning")
	case 6:
		n.masquerade, n.share = true, 2
		n.fixed(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + i), 0, 0}), 16))
		n.follow(false, "bandwidth", "portmap", "firewall")
	case 7:
		n.guard, n.share = true, 2
		n.conf["macspoofchk"] = true
		n.follow(true, "tuning", "bandwidth")
	}
	if n.masquerade {
		n.conf["ipMasq"] = true
		if p.Foreign {
			n.conf["ipMasqBackend"] = "nftables"
		}
	}
	return n
}

// addresses gives a network one address from each subnet, with a route for each family.
func (n *network) addresses(subnets ...netip.Prefix) {
	var ranges [][]map[string]string
	var routes []map[string]string
	for _, s := range subnets {
		ranges = append(ranges, []map[string]string{{"subnet": s.String()}})
		to := "192.0.2.0/24"
		if s.Addr().Is6() {
			to = "2001:db8::/32"
		}
		routes = append(routes, map[string]string{"dst": to})
	}
	n.conf["isGateway"] = true
	n.conf["ipam"] = map[string]any{"type": "host-local", "dataDir": dataDir, "ranges": ranges, "routes": routes}
	n.ipam, n.subnets = dataDir+"/"+n.name, subnets
	n.capacity = capacity(subnets)
}

// capacity is how many addresses the smallest subnet has. Its own, the gateway and the broadcast
// address aren't given.
func capacity(subnets []netip.Prefix) int {
	least := 1 << 20
	for _, s := range subnets {
		least = min(least, 1<<min(s.Addr().BitLen()-s.Bits(), 20)-3)
	}
	return least
}

// networkFrom reads a user's configuration. Its ranges should be whole subnets, as nothing else in
// them is looked at.
func networkFrom(text string) (*network, error) {
	var known struct {
		Name, Bridge string
		IPAM         struct {
			Type, Subnet, DataDir string
			Ranges                [][]struct{ Subnet string }
		}
	}
	n := &network{ifName: "eth0", share: 1, bridge: "cni0"}
	err := json.Unmarshal([]byte(text), &known)
	if err == nil {
		err = json.Unmarshal([]byte(text), &n.conf)
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	n.name = known.Name
	if known.Bridge != "" {
		n.bridge = known.Bridge
	}
	if known.IPAM.Type != "host-local" {
		return n, nil
	}
	n.ipam = known.IPAM.DataDir + "/" + n.name
	if known.IPAM.DataDir == "" {
		n.ipam = "/var/lib/cni/networks/" + n.name
	}
	subnets := []string{known.IPAM.Subnet}
	if known.IPAM.Subnet == "" {
		subnets = nil
	}
	for _, set := range known.IPAM.Ranges {
		for _, r := range set {
			subnets = append(subnets, r.Subnet)
		}
	}
	for _, s := range subnets {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
		n.subnets = append(n.subnets, p)
	}
	n.capacity = capacity(n.subnets)
	return n, nil
}

// validAttachment is an element of GC's list.
type validAttachment struct {
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifname"`
}

func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps, lists and strings only
	}
	return text
}

// elements reports whether attachments have elements in the ruleset.
func (n *network) elements() bool { return n.masquerade || n.guard || n.publishes || n.opens }
