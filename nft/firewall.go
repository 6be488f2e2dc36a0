// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// An Ingress is a policy that says which hosts and containers may open connections to a bridge's
// containers. Two bridges with any other policy than IngressOpen don't reach each other.
type Ingress uint8

// Policies, from the laxest to the strictest.
const (
	IngressOpen       Ingress = iota // whatever the host's firewall lets through
	IngressSameBridge                // the containers of the same bridge reach each other
	// Containers don't reach each other if the host routes between them. For bridged frames see
	// [rtnl.Port]'s Isolated.
	IngressIsolated
)

// String returns the name that configurations use.
func (i Ingress) String() string { return [...]string{"open", "same-bridge", "isolated"}[i] }

// DefaultAdminChain is the chain for the administrator's own rules, which come before ours.
const DefaultAdminChain = "CNI-ADMIN"

// An Allowance is the way through the host's firewall for one owner.
//
// An nftables chain that accepts a packet doesn't keep the chains of other tables from dropping it.
// So the way has two parts. The addresses are elements of sets in our own table, whose rules mark
// the packets from an address and the answers to them. In the tables that iptables-nft keeps, "ip
// filter" and "ip6 filter", one rule at the head of FORWARD leads to the chain CNI-FORWARD, whose
// rule accepts marked packets. Table and chain are made if they are missing, since a firewall that
// comes later adds its rules behind ours.
//
// The sets can't be in those tables: iptables calls a table with a set in it incompatible, and
// lists it no more. The mark lives within the hook: it's cleared before the first of these chains
// and after the last.
type Allowance struct {
	Owner Owner
	// Addrs are the container's addresses.
	Addrs []netip.Addr
	// Delegated keeps the addresses in sets that no rule looks at. Another program opens the way,
	// and must be told when they go.
	Delegated bool
	// AdminChain is the chain that CNI-FORWARD visits first; "" is [DefaultAdminChain].
	AdminChain string
	// Bridge is the bridge that the container is attached to, and Ingress is its policy. "" is
	// none.
	Bridge  string
	Ingress Ingress
}

// AcceptMark is the bit of a packet's mark that means "accept" between the firewall's first chain
// and its last one, both of the forward hook. Another program's use of that bit ends there.
const AcceptMark = 0x1000

var (
	open4, open6   = set{masqueradeTable, "open4", address4}, set{masqueradeTable, "open6", address6}
	noted4, noted6 = set{masqueradeTable, "noted4", address4}, set{masqueradeTable, "noted6", address6}
	// policied holds the bridges that have a policy. The comment names the network that gave it.
	policied = set{masqueradeTable, "policied", link}
	// sameBridge holds those whose containers reach each other, twice in a key.
	sameBridge = set{masqueradeTable, "samebridge", linkPair}
)

// noLink stands for container and interface if a network itself owns an element. No container has
// that ID.
const noLink = "-"

func openSet(a netip.Addr, delegated bool) set {
	if delegated {
		return pick(familyOf(a), noted4, noted6)
	}
	return pick(familyOf(a), open4, open6)
}

// elements returns the elements of the addresses.
func (o *Allowance) elements() []element {
	es := make([]element, 0, len(o.Addrs))
	for _, a := range o.Addrs {
		es = append(es, element{set: openSet(a, o.Delegated), key: a.AsSlice(), comment: o.Owner.comment()})
	}
	return es
}

// policy returns the keys of the bridge's elements. A bridge with the first has a policy. A bridge
// with both lets its containers reach each other.
func (o *Allowance) policy() []element {
	if o.Bridge == "" {
		return nil
	}
	key, comment := linkKey(o.Bridge), Owner{o.Owner.Network, noLink, noLink}.comment()
	return []element{{set: policied, key: key, comment: comment}, {set: sameBridge, key: append(bytes.Clone(key), key...), comment: comment}}
}

// wanted cuts the policy's elements down to those that a policy has.
func wanted(policy []element, i Ingress) []element {
	switch i {
	case IngressSameBridge:
		return policy
	case IngressIsolated:
		return policy[:1]
	}
	return nil
}

// adminChain is the chain's name.
func (o *Allowance) adminChain() string {
	if o.AdminChain == "" {
		return DefaultAdminChain
	}
	return o.AdminChain
}

// families returns those that the addresses have.
func (o *Allowance) families() []portFamily {
	var fs []portFamily
	for _, a := range o.Addrs {
		if f := familyOf(a); !slices.Contains(fs, f) {
			fs = append(fs, f)
		}
	}
	return fs
}

// check refuses anything that can't be an allowance.
func (o *Allowance) check() error {
	if err := o.Owner.check(); err != nil {
		return err
	}
	for _, a := range o.Addrs {
		if !a.IsValid() || a.Is4In6() || a.Zone() != "" {
			return fmt.Errorf("nft: %s: open the way for %s: not an address", o.Owner, a)
		}
	}
	switch {
	case len(o.Bridge) >= unix.IFNAMSIZ:
		return fmt.Errorf("nft: %s: bridge %q: a link's name has at most %d bytes", o.Owner, o.Bridge, unix.IFNAMSIZ-1)
	case o.Ingress > IngressIsolated:
		return fmt.Errorf("nft: %s: no such ingress policy: %d", o.Owner, o.Ingress)
	case o.Ingress != IngressOpen && o.Bridge == "":
		return fmt.Errorf("nft: %s: an ingress policy takes a bridge", o.Owner)
	}
	return CheckChainName(o.adminChain())
}

// CheckChainName returns an error that says why iptables wouldn't accept a name for a chain, or
// nil.
func CheckChainName(name string) error {
	// The limit is XT_EXTENSION_MAXNAMELEN (linux/netfilter/x_tables.h) less the zero byte. A name
	// can't be a text that iptables reads as an option, a negation or a space. Our chain can't lead
	// to built-in chains, or to our own.
	switch {
	case name == "" || len(name) > 28 || name[0] == '-' || name[0] == '!':
	case bytes.ContainsFunc([]byte(name), func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }):
	case slices.Contains([]string{forwardChain, cniForward, "INPUT", "OUTPUT", "PREROUTING", "POSTROUTING", "ACCEPT", "DROP", "RETURN", "QUEUE"}, name):
	default:
		return nil
	}
	return fmt.Errorf("nft: chain %q: no name of 1 to 28 printable characters for a chain of one's own", name)
}
