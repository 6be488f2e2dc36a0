// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/swiftcni/swiftcni/internal/sha512"
	"golang.org/x/sys/unix"
)

// These are the remains of the CNI project's own plugins in nftables: a node may have been upgraded
// while containers ran.
var (
	referenceMasquerade = table{unix.NFPROTO_INET, "cni_plugins_masquerade"}
	referenceGuard      = table{unix.NFPROTO_BRIDGE, "nat"}
)

const (
	referenceChecks     = "masq_checks"
	referencePrerouting = "PREROUTING"
	// maxChainName is NFT_NAME_MAXLEN without the zero byte (linux/netfilter/nf_tables.h).
	maxChainName = 255
)

// referenceHash begins the comment of the reference's masquerade rules: a hash of the network, a
// dash, and a hash of interface and container. It identifies the owner. The rest of the comment is
// for people.
func referenceHash(o Owner) string {
	return hash16(o.Network) + "-" + hash16(o.IfName+":"+o.ContainerID)
}

func hash16(s string) string {
	sum := sha512.Sum512([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// referenceChains are the two chains of the reference's spoof check for an owner: rules of the
// first, which the base chain jumps to, jump to the second.
func referenceChains(o Owner) [2]string {
	name := "cni-br-iface-" + o.ContainerID + "-" + o.IfName
	return [2]string{name, name + "-mac"}
}

// probes are the chains whose presence says that the reference left something, each found by its
// name.
func probes(o Owner) []chain {
	cs := []chain{{table: referenceMasquerade, name: referenceChecks}}
	for _, name := range referenceChains(o) {
		// No chain has a longer name, and the kernel refuses the question.
		if len(name) <= maxChainName {
			cs = append(cs, chain{table: referenceGuard, name: name})
		}
	}
	return cs
}

// detachReference removes the reference's remains of one owner. present are those of its probes
// that exist.
func (c *Conn) detachReference(o Owner, present []chain) error {
	var checks, guard bool
	for _, p := range present {
		checks = checks || p.table == referenceMasquerade
		guard = guard || p.table == referenceGuard
	}
	if checks {
		hash := referenceHash(o)
		err := c.deleteRules(referenceMasquerade, referenceChecks, func(comment string) bool { return strings.HasPrefix(comment, hash) })
		if err != nil {
			return err
		}
	}
	if !guard {
		return nil
	}
	own := "macspoofchk-" + o.ContainerID + "-" + o.IfName
	if err := c.deleteRules(referenceGuard, referencePrerouting, func(comment string) bool { return comment == own }); err != nil {
		return err
	}
	// The first holds the jump to the second, so it's emptied first. Absence is no error here.
	for _, p := range present {
		if p.table != referenceGuard {
			continue
		}
		var b batch
		b.deleteChain(p.table, p.name)
		if err := c.commit(&b, nil); err != nil && !hasErrno(err, unix.ENOENT) {
			return err
		}
	}
	return nil
}

// deleteRules deletes the rules of a chain whose comment is chosen. A rule's handle is never given
// to another, so no generation is needed. If others delete rules meanwhile, it starts anew.
func (c *Conn) deleteRules(t table, chain string, chosen func(comment string) bool) error {
	for range maxTries {
		var b batch
		n := 0
		err := c.dump(listRules(t, chain), func(data []byte) error {
			r, err := decodeRule(data)
			if err == nil && r.comment != "" && chosen(r.comment) && n < rulesAtOnce {
				b.deleteRule(t, chain, r.handle)
				n++
			}
			return err
		})
		if err == nil && n > 0 {
			err = c.commit(&b, nil)
		}
		switch {
		case errors.Is(err, errChanged), hasErrno(err, unix.ENOENT):
		case err != nil, n < rulesAtOnce:
			return err
		}
	}
	return ErrInterrupted
}

// rulesAtOnce keeps a transaction of rule deletions smaller than the socket's buffer.
const rulesAtOnce = 1000
