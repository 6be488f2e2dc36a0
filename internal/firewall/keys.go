// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/cni/spec"
	"github.com/swiftcni/swiftcni/internal/facts"
	"github.com/swiftcni/swiftcni/internal/fault"
	"github.com/swiftcni/swiftcni/internal/jsontext"
	"github.com/swiftcni/swiftcni/internal/names"
	"github.com/swiftcni/swiftcni/internal/netconf"
	"github.com/swiftcni/swiftcni/internal/verbs"
	"github.com/swiftcni/swiftcni/nft"
)

// Backends of firewall. The empty one is firewalld if it runs, otherwise the host's own tables.
const (
	backendIPTables  = "iptables"
	backendNFTables  = "nftables"
	backendFirewalld = "firewalld"
)

// Keys are the plugin's own. err is the first wrong one. The keys that DEL uses are read all the
// same.
type Keys struct {
	backend    string
	adminChain string
	zone       string
	ingress    nft.Ingress
	err        *spec.Error
}

// Read reads the plugin's keys.
func Read(n *netconf.Network) verbs.Plugin {
	r := n.Reader()
	k := &Keys{adminChain: nft.DefaultAdminChain, zone: "trusted"}
	err := r.Object(func(key string) error { return k.field(r, key) })
	k.err = fault.First(r, err)
	return k
}

// Wrong is the first key that is wrong.
func (k *Keys) Wrong(spec.Attachment) *spec.Error { return k.err }

// Tell adds the zone of firewalld that gets the container's addresses.
func (k *Keys) Tell(f *facts.Plugin) { f.Zone = k.zone }

func (k *Keys) field(r *jsontext.Reader, key string) (err error) {
	switch key {
	case "backend":
		err = r.Str(&k.backend)
		switch k.backend {
		case "", backendIPTables, backendNFTables, backendFirewalld:
		default:
			fault.Note(r, fault.Expected("backend", "unrecognized backend "+strconv.Quote(k.backend), `"iptables", "nftables" or "firewalld"`))
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
			fault.Note(r, fault.Expected("ingressPolicy", "unknown ingress policy: "+strconv.Quote(s), `"open", "same-bridge" or "isolated"`))
		}
	}
	return err
}

// opening returns the owner's way through the firewall: for all addresses of the result, as in the
// reference. The bridge is the result's first interface.
func (k *Keys) opening(c *verbs.Call, a spec.Attachment) nft.Allowance {
	o := nft.Allowance{
		Owner:      c.Owner(a),
		AdminChain: k.adminChain,
	}
	if c.Prev == nil {
		return o
	}
	for _, ip := range c.Prev.IPs {
		if !slices.Contains(o.Addrs, ip.Address.Addr()) {
			o.Addrs = append(o.Addrs, ip.Address.Addr())
		}
	}
	if is := c.Prev.Interfaces; len(is) > 0 && is[0].Sandbox == "" && names.LinkProblem(is[0].Name) == "" {
		o.Bridge, o.Ingress = is[0].Name, k.ingress
	}
	return o
}
