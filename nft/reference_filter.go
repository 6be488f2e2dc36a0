// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"iter"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// The CNI project's firewall plugin keeps its rules in iptables' table filter. Those for addresses
// don't name their owner. Those for bridges' policies ("ingressPolicy") stay when the last
// container goes.

// isolationStages are the chains of policies. FORWARD leads to the first, which sends packets that
// leave a bridge to the second. The second drops packets for a bridge. An isolated bridge has a
// rule there that drops packets within it.
var isolationStages = [...]string{"CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"}

// Policies lists the rules of bridges' policies that the CNI project's firewall plugin made by
// iptables-nft: the first of each family and bridge. An error ends it.
func (c *Conn) Policies() iter.Seq2[Leftover, error] { return listing(c.policies) }

func (c *Conn) policies() (list []Leftover, err error) {
	for _, f := range [...]portFamily{family4, family6} {
		t, seen := filterTable(f), map[string]bool{}
		for _, chain := range isolationStages {
			err := c.rules(t, chain, func(r listedRule) {
				if bridge := ruleLink(r.exprs); bridge != "" && !seen[bridge] {
					seen[bridge] = true
					list = append(list, Leftover{Kind: LeftoverPolicy, Where: "rules of " + t.String() + " " + chain, Bridge: bridge, IPTables: true})
				}
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// throughFirewall lists the addresses that the CNI project's firewall plugin lets through.
func (c *Conn) throughFirewall() (list []Leftover, err error) {
	for _, f := range [...]portFamily{family4, family6} {
		t, seen := filterTable(f), map[netip.Addr]bool{}
		err := c.rules(t, cniForward, func(r listedRule) {
			if a := ruleAddr(r.exprs); a.IsValid() && !seen[a] {
				seen[a] = true
				list = append(list, Leftover{Kind: LeftoverFirewall, Where: "rules of " + t.String() + " " + cniForward, Addr: a, IPTables: true})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// eachCompared gives the values that a rule compares, each with the expression that loads it.
func eachCompared(exprs []byte, each func(load string, data, value []byte)) {
	load, loaded := "", []byte(nil)
	expressions(exprs, func(name string, data []byte) {
		if name == "cmp" {
			d, _ := attribute(data, unix.NFTA_CMP_DATA)
			value, _ := attribute(d, unix.NFTA_DATA_VALUE)
			each(load, loaded, value)
		}
		load, loaded = name, data
	})
}

// ruleLink is the first link's name that a rule compares a packet's link with.
func ruleLink(exprs []byte) (link string) {
	eachCompared(exprs, func(load string, data, value []byte) {
		key, _ := attribute(data, unix.NFTA_META_KEY)
		if load != "meta" || len(key) != 4 || link != "" {
			return
		}
		switch binary.BigEndian.Uint32(key) {
		case unix.NFT_META_IIFNAME, unix.NFT_META_OIFNAME:
			link = string(bytes.TrimRight(value, "\x00"))
		}
	})
	return link
}

// ruleAddr is the first whole address that a rule compares a packet's address with.
func ruleAddr(exprs []byte) (addr netip.Addr) {
	eachCompared(exprs, func(load string, _, value []byte) {
		if a, ok := netip.AddrFromSlice(value); ok && load == "payload" && !addr.IsValid() {
			addr = a
		}
	})
	return addr
}

// sharedPorts begins the names of the CNI project's portmap plugin's shared chains. They lead to
// the chains of its containers, and mark packets.
const sharedPorts = "CNI-HOSTPORT-"

// sharedLeftovers are the names of those chains if no container's chain is left.
func sharedLeftovers(t table, names []string) (list []Leftover) {
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, referenceDNATFor):
			return nil
		case strings.HasPrefix(name, sharedPorts):
			list = append(list, Leftover{Kind: LeftoverPorts, Where: "chain " + t.String() + " " + name, IPTables: true})
		}
	}
	return list
}
