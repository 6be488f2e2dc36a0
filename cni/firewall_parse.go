// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/nft"
)

// Backends of firewall. The empty one is firewalld where it runs, else the host's own tables.
const (
	backendIPTables  = "iptables"
	backendNFTables  = "nftables"
	backendFirewalld = "firewalld"
)

// firewallKeys are firewall's own. err is the first that's wrong; what DEL can use is read all the same.
type firewallKeys struct {
	backend    string
	adminChain string
	zone       string
	ingress    nft.Ingress
	err        *Error
}

// firewall are firewall's keys.
func (n *Network) firewall() *firewallKeys { return n.own.(*firewallKeys) }

// parseFirewall reads firewall's keys.
func (n *Network) parseFirewall() *firewallKeys {
	k := &firewallKeys{adminChain: nft.DefaultAdminChain, zone: "trusted"}
	r := n.reader()
	err := r.Object(func(key string) error { return k.field(r, key) })
	k.err = fault.First(r, err)
	return k
}

func (k *firewallKeys) field(r *jsontext.Reader, key string) (err error) {
	switch key {
	case "backend":
		err = r.Str(&k.backend)
		switch k.backend {
		case "", backendIPTables, backendNFTables, backendFirewalld:
		default:
			fault.Note(r, fault.Expected("backend", "unrecognized backend "+quote(k.backend), `"iptables", "nftables" or "firewalld"`))
			k.backend = ""
		}
	case "iptablesadminchainname":
		return r.Text("a name for a chain, at most 28 characters", func(s string) bool {
			if nft.CheckChainName(s) != nil {
				return false
			}
			k.adminChain = s
			return true
		})
	case "firewalldzone":
		return r.Text("the name of a zone", func(s string) bool {
			k.zone = s
			return true
		})
	case "ingresspolicy":
		var s string
		err = r.Str(&s)
		switch s {
		case "", nft.IngressOpen.String():
		case nft.IngressSameBridge.String():
			k.ingress = nft.IngressSameBridge
		case nft.IngressIsolated.String():
			k.ingress = nft.IngressIsolated
		default:
			fault.Note(r, fault.Expected("ingressPolicy", "unknown ingress policy: "+quote(s), `"open", "same-bridge" or "isolated"`))
		}
	}
	return err
}

// opening says what the owner's way through the firewall is: all addresses of the result, as the reference takes them.
// The bridge is the result's first interface.
func (k *firewallKeys) opening(n *Network, a Attachment) nft.Allowance {
	o := nft.Allowance{
		Owner:      n.rulesOwner(names.Lessee(a)),
		AdminChain: k.adminChain,
	}
	if n.prev == nil {
		return o
	}
	for _, ip := range n.prev.IPs {
		if !slices.Contains(o.Addrs, ip.Address.Addr()) {
			o.Addrs = append(o.Addrs, ip.Address.Addr())
		}
	}
	if is := n.prev.Interfaces; len(is) > 0 && is[0].Sandbox == "" && ifNameProblem(is[0].Name) == "" {
		o.Bridge, o.Ingress = is[0].Name, k.ingress
	}
	return o
}

// source is how firewalld calls an address.
func source(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }
