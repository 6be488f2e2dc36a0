// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/nft"
)

// legacyChain is a chain that the CNI project's plugins made in iptables-legacy for a container.
// Neither DEL nor GC removes it. The chain of a port leads to the next holder of the container's
// address.
type legacyChain struct {
	table *nft.LegacyTable
	name  string
	owner nft.Owner // the zero Owner is none of those that were asked about
}

// legacyChains lists the chains of both families, each with its owner, if that is one of owners.
func legacyChains(owners []nft.Owner) (list []legacyChain, err error) {
	of := map[string]nft.Owner{}
	for _, o := range owners {
		for _, name := range nft.ContainerChains(o) {
			of[name] = o
		}
	}
	for _, family := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		t, readErr := nft.ReadLegacy("nat", family)
		err = errors.Join(err, readErr)
		for _, name := range t.ContainerChains() {
			list = append(list, legacyChain{t, name, of[name]})
		}
	}
	return list, err
}

// removal is the command that removes the chain, and the rules that lead to it.
func (l legacyChain) removal() string {
	program, table, _ := strings.Cut(l.table.String(), " ")
	return program + "-save -t " + table + " | grep -v " + l.name + " | " + program + "-restore -T " + table
}

func (l legacyChain) String() string { return "chain " + l.table.String() + " " + l.name }

// ofNobody are the chains whose owner isn't known.
func ofNobody(list []legacyChain) []legacyChain {
	return slices.DeleteFunc(slices.Clone(list), func(l legacyChain) bool { return l.owner != nft.Owner{} })
}

// legacyAdvice is the text for a host on which the former plugins have made rules by
// iptables-legacy; "" is no text.
func legacyAdvice() string {
	list, _ := legacyChains(nil) // a user that may not read them needn't know
	if len(list) == 0 {
		return ""
	}
	return "iptables-legacy has chains of the CNI project's plugins (" + list[0].String() +
		" and others). They stay when their containers go, and the chain of a port then leads to the next holder of the address: swiftctl adopt lists them, with the commands that remove them"
}
