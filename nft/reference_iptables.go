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

// With their iptables backend, the CNI project's plugins give each container a chain in the table
// nat, and lead to it by a rule for each address or port. If iptables is iptables-nft, these are
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

// iptablesChain is the reference's name for a container's chain. The interface's name isn't part of
// it.
func iptablesChain(prefix string, o Owner) string {
	sum := sha512.Sum512([]byte(o.Network + o.ContainerID))
	return prefix + hex.EncodeToString(sum[:])[:iptablesChainLen-len(prefix)]
}

// DetachIPTables removes the rules in iptables-nft's tables that the CNI project's bridge plugin,
// with its iptables backend, left for an owner: those for its addresses that lead to its
// container's chain, and the chain once no rule leads there. Detach doesn't, as it would have to
// ask each time. Call it for attachments of the reference. It is not an error if nothing is found.
// Rules of the old iptables, which aren't in nftables, stay.
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
		// EBUSY: a rule has been added that leads there. ENOENT: another program was faster.
		if err := c.commit(&b, nil); err != nil && !hasErrno(err, unix.ENOENT, unix.EBUSY) {
			return err
		}
	}
	return nil
}

// leadsTo reports whether a rule leads to a chain, for some packets at least.
func leadsTo(exprs []byte, to string) (leads bool) {
	expressions(exprs, func(name string, data []byte) {
		if name == "immediate" {
			code, chain, ok := verdict(data)
			leads = leads || ok && chain == to && (code == unix.NFT_JUMP || code == unix.NFT_GOTO)
		}
	})
	return leads
}

// comparesWith reports whether a rule compares something with a value.
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
	Owner Owner        // its owner; the zero Owner is none of those that were asked about
	Kind  LeftoverKind // its purpose
	// Where is "chain ip nat CNI-f0bca4ac77cde1bf2f3da5df" or "rule of inet cni_plugins_masquerade
	// masq_checks".
	Where string
	Text  string // the rule's own comment, may be empty
	// Bridge is the bridge of a policy, and Addr the address that a rule lets through the firewall.
	// Their owners are unknown.
	Bridge string
	Addr   netip.Addr
	// IPTables says that it's in a table of iptables-nft.
	IPTables bool
}

// A LeftoverKind is the purpose of a [Leftover], in an administrator's words.
type LeftoverKind string

// Kinds of leftovers.
const (
	LeftoverMasquerade LeftoverKind = "masquerade"
	LeftoverSpoofCheck LeftoverKind = "spoof check"
	LeftoverPorts      LeftoverKind = "ports"
	LeftoverPolicy     LeftoverKind = "ingress policy"
	LeftoverFirewall   LeftoverKind = "way through the firewall"
)

// Leftovers lists the remains of the CNI project's plugins, of these owners and of others. It goes
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
