// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/hex"
	"iter"
	"net/netip"
	"strings"

	"github.com/swiftcni/swiftcni/internal/sha512"
	"golang.org/x/sys/unix"
)

// The CNI project's plugins, with their iptables backend, give each container a chain in the table
// nat, and lead to it by a rule for each address or port. Where iptables is iptables-nft these are
// chains and rules of nftables like any others.

const (
	natPostrouting   = "POSTROUTING"
	referenceDNAT    = "CNI-HOSTPORT-DNAT"
	referencePrefix  = "CNI-"
	referenceDNATFor = "CNI-DN-"
	// iptablesChainLen is XT_EXTENSION_MAXNAMELEN without the zero byte
	// (linux/netfilter/x_tables.h).
	iptablesChainLen = 28
)

// natTables are where iptables-nft keeps the families' tables nat.
var natTables = [...]table{{unix.NFPROTO_IPV4, "nat"}, {unix.NFPROTO_IPV6, "nat"}}

// iptablesChain is what the reference calls a container's chain. The interface's name is no part of
// it.
func iptablesChain(prefix string, o Owner) string {
	sum := sha512.Sum512([]byte(o.Network + o.ContainerID))
	return prefix + hex.EncodeToString(sum[:])[:iptablesChainLen-len(prefix)]
}

// DetachIPTables removes what the CNI project's bridge plugin, with its iptables backend, left in
// iptables-nft's tables for an owner: the rules for its addresses that lead to its container's
// chain, and the chain once no rule does. Detach doesn't, as it would have to ask each time: call
// it for what the reference attached. It is not an error if nothing is found. Rules of the old
// iptables, which aren't in nftables, stay.
func (c *Conn) DetachIPTables(o Owner, addrs []netip.Addr) error {
	if err := o.check(); err != nil {
		return err
	}
	return c.unhook(natPostrouting, iptablesChain(referencePrefix, o), func(exprs []byte) bool {
		for _, a := range addrs {
			if comparesWith(exprs, a.AsSlice()) {
				return true
			}
		}
		return false
	})
}

// unhook deletes the chosen rules that lead from one chain to another in each table nat, and the
// other chain if none is left.
func (c *Conn) unhook(from, to string, chosen func(exprs []byte) bool) error {
	var ask []chain
	for _, t := range natTables {
		ask = append(ask, chain{table: t, name: to})
	}
	present, err := c.present(ask)
	if err != nil {
		return err
	}
	for _, p := range present {
		var b batch
		left := false
		err := c.rules(p.table, from, func(r listedRule) {
			switch {
			case !leadsTo(r.exprs, to):
			case chosen(r.exprs):
				b.deleteRule(p.table, from, r.handle)
			default:
				left = true
			}
		})
		if err != nil {
			return err
		}
		if !left {
			b.deleteChain(p.table, to)
		}
		// EBUSY: a rule has been added that leads there. ENOENT: somebody else was faster.
		if err := c.commit(&b, nil); err != nil && !hasErrno(err, unix.ENOENT, unix.EBUSY) {
			return err
		}
	}
	return nil
}

// leadsTo says whether a rule leads to a chain, for some packets at least.
func leadsTo(exprs []byte, to string) (leads bool) {
	expressions(exprs, func(name string, data []byte) {
		if name == "immediate" {
			code, chain, ok := verdict(data)
			leads = leads || ok && chain == to && (code == unix.NFT_JUMP || code == unix.NFT_GOTO)
		}
	})
	return leads
}

// comparesWith says whether a rule compares something with a value.
func comparesWith(exprs, value []byte) (compares bool) {
	expressions(exprs, func(name string, data []byte) {
		if name == "cmp" {
			d, _ := attribute(data, unix.NFTA_CMP_DATA)
			v, _ := attribute(d, unix.NFTA_DATA_VALUE)
			compares = compares || bytes.Equal(v, value)
		}
	})
	return compares
}

// A Leftover is a part of the ruleset that the CNI project's own plugins made.
type Leftover struct {
	Owner Owner        // whose it is; the zero Owner is none of those that were asked about
	Kind  LeftoverKind // what it was for
	Where string       // "chain ip nat CNI-f0bca4ac77cde1bf2f3da5df", "rule of inet cni_plugins_masquerade masq_checks"
	Text  string       // the rule's own comment, may be empty
	// Bridge is whose policy it is, and Addr what it lets through the firewall: their owners are
	// unknown.
	Bridge string
	Addr   netip.Addr
	// IPTables says that it's in a table of iptables-nft.
	IPTables bool
}

// A LeftoverKind is what a [Leftover] was for, as an administrator would say it.
type LeftoverKind string

// Kinds of leftovers.
const (
	LeftoverMasquerade LeftoverKind = "masquerade"
	LeftoverSpoofCheck LeftoverKind = "spoof check"
	LeftoverPorts      LeftoverKind = "ports"
	LeftoverPolicy     LeftoverKind = "ingress policy"
	LeftoverFirewall   LeftoverKind = "way through the firewall"
)

// Leftovers lists what the CNI project's plugins left, for these owners and for others. It goes
// through whole tables. An error ends it.
func (c *Conn) Leftovers(owners []Owner) iter.Seq2[Leftover, error] {
	return listing(func() ([]Leftover, error) { return c.leftovers(owners) })
}

func (c *Conn) leftovers(owners []Owner) (list []Leftover, err error) {
	byHash, byID, bySpoof, byChain := map[string]Owner{}, map[string]Owner{}, map[string]Owner{}, map[string]Owner{}
	for _, o := range owners {
		byHash[referenceHash(o)], byID[o.ContainerID], bySpoof[referenceChains(o)[0]] = o, o, o
		byChain[iptablesChain(referencePrefix, o)], byChain[iptablesChain(referenceDNATFor, o)] = o, o
	}
	rules := func(kind LeftoverKind, t table, chain string, owner func(comment string) (Owner, bool)) {
		if err == nil {
			err = c.rules(t, chain, func(r listedRule) {
				if o, ok := owner(r.comment); ok {
					list = append(list, Leftover{Owner: o, Kind: kind, Where: "rule of " + t.String() + " " + chain, Text: r.comment})
				}
			})
		}
	}
	rules(LeftoverMasquerade, referenceMasquerade, referenceChecks, func(comment string) (Owner, bool) {
		hash, _, _ := strings.Cut(comment, ",")
		return byHash[hash], true
	})
	for _, t := range referencePorts {
		for _, name := range referencePortChains {
			rules(LeftoverPorts, t, name, func(comment string) (Owner, bool) { return byID[comment], comment != "" })
		}
	}
	chains := func(t table, each func(name string)) {
		if err == nil {
			err = c.chainNames(t, each)
		}
	}
	chains(referenceGuard, func(name string) {
		if strings.HasPrefix(name, "cni-br-iface-") && !strings.HasSuffix(name, "-mac") {
			list = append(list, Leftover{Owner: bySpoof[name], Kind: LeftoverSpoofCheck, Where: "chain " + referenceGuard.String() + " " + name})
		}
	})
	for _, t := range natTables {
		var names []string
		chains(t, func(name string) {
			names = append(names, name)
			kind := LeftoverMasquerade
			if strings.HasPrefix(name, referenceDNATFor) {
				kind = LeftoverPorts
			}
			if strings.HasPrefix(name, referencePrefix) && len(name) == iptablesChainLen {
				list = append(list, Leftover{Owner: byChain[name], Kind: kind, Where: "chain " + t.String() + " " + name, IPTables: true})
			}
		})
		list = append(list, sharedLeftovers(t, names)...)
	}
	for _, more := range []func() ([]Leftover, error){c.policies, c.throughFirewall} {
		if err == nil {
			var some []Leftover
			some, err = more()
			list = append(list, some...)
		}
	}
	return list, err
}

// chainNames gives the names of a table's chains.
func (c *Conn) chainNames(t table, each func(name string)) error {
	err := c.dump(request(unix.NFT_MSG_GETCHAIN, t.family), func(data []byte) error {
		var in, name string
		for as := (attributes{rest: data}); as.next(); {
			switch as.kind {
			case unix.NFTA_CHAIN_TABLE:
				in = as.text()
			case unix.NFTA_CHAIN_NAME:
				name = as.text()
			}
		}
		if in == t.name {
			each(name)
		}
		return nil
	})
	if err == errChanged || hasErrno(err, unix.ENOENT) {
		return nil
	}
	return err
}
