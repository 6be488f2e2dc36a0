// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/nft"
)

// legacyChain is one that the CNI project's plugins made in iptables-legacy for a container. Neither DEL nor GC removes it,
// and a port's leads to whoever has the container's address.
type legacyChain struct {
	table *nft.LegacyTable
	name  string
	owner nft.Owner // the zero Owner is none of those that were asked about
}

// legacyChains lists those of both families, each with its owner, if that's one of some.
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

// removal is what takes the chain away, and the rules that lead to it.
func (l legacyChain) removal() string {
	program, table, _ := strings.Cut(l.table.String(), " ")
	return program + "-save -t " + table + " | grep -v " + l.name + " | " + program + "-restore -T " + table
}

func (l legacyChain) String() string { return "chain " + l.table.String() + " " + l.name }

// ofNobody are the chains whose owner isn't known.
func ofNobody(list []legacyChain) []legacyChain {
	return slices.DeleteFunc(slices.Clone(list), func(l legacyChain) bool { return l.owner != nft.Owner{} })
}

// legacyAdvice is what to know where the plugins that were there before have made rules by iptables-legacy; "" is nothing.
func legacyAdvice() string {
	list, _ := legacyChains(nil) // who may not read them needn't know
	if len(list) == 0 {
		return ""
	}
	return "iptables-legacy has chains of the CNI project's plugins (" + list[0].String() +
		" and the like). They stay when their containers go, and a port's then leads to whoever gets the address: swiftctl adopt lists them, with what removes them"
}
