// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// A Barrier is another program's chain that may drop what the host forwards: one at the forward hook whose policy is to
// drop, or firewalld's, whose last rule rejects. No chain of another table can let a packet past it.
type Barrier struct {
	Table string // "ip filter"
	Chain string // "FORWARD"
}

func (b Barrier) String() string { return b.Table + " " + b.Chain }

// firewalldTable is firewalld's, whose chain for forwarded packets ends in a rule that rejects them.
const firewalldTable, firewalldForward = "firewalld", "filter_FORWARD"

// Barriers lists the barriers of both families. It lists all chains, so it isn't for attaching.
func (c *Conn) Barriers() (list []Barrier, err error) {
	for _, family := range [...]byte{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6} {
		for range maxTries {
			found := list
			err = c.dump(request(unix.NFT_MSG_GETCHAIN, family), func(data []byte) error {
				if b, ok := barrier(family, data); ok {
					found = append(found, b)
				}
				return nil
			})
			if !errors.Is(err, errChanged) {
				list = found
				break
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// barrier decodes NFT_MSG_NEWCHAIN.
func barrier(family byte, data []byte) (b Barrier, ok bool) {
	if !isForwardHook(data) {
		return b, false
	}
	var t table
	t.family = family
	drops := false
	for as := (attributes{rest: data}); as.next(); {
		switch as.kind {
		case unix.NFTA_CHAIN_TABLE:
			t.name = as.text()
		case unix.NFTA_CHAIN_NAME:
			b.Chain = as.text()
		case unix.NFTA_CHAIN_POLICY:
			drops = len(as.value) == 4 && binary.BigEndian.Uint32(as.value) == 0 // NF_DROP (linux/netfilter.h)
		}
	}
	b.Table = t.String()
	return b, drops || t.name == firewalldTable && b.Chain == firewalldForward
}
