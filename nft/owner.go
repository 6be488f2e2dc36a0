// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/swiftcni/swiftcni/internal/sha512"
	"golang.org/x/sys/unix"
)

// An Owner is the owner of an element: a container's place on a network, as the CNI specification
// identifies it. Owners are comparable.
type Owner struct{ Network, ContainerID, IfName string }

const (
	// maxComment is what the nft program accepts as a comment (NFTNL_UDATA_COMMENT_MAXLEN,
	// libnftnl/udata.h).
	maxComment = 128
	// maxOwner leaves room behind the owner for the MAC in a guard's comment, " 02:42:ac:13:01:02".
	maxOwner = maxComment - 18
	// maxNetwork leaves room for a recognizable container ID behind a long network name.
	maxNetwork = 44
	// cutMark begins the hash of a cut name. CNI allows it in no name, so a cut name never equals a
	// whole one.
	cutMark = "~"
	// hashLen is the length of that hash, 128 bits in hex.
	hashLen = 32
)

// String returns "network/container/interface", for example "mynet/c1/eth0".
func (o Owner) String() string { return o.Network + "/" + o.ContainerID + "/" + o.IfName }

// Short returns the owner as the comments name it, and as [Conn.Senders] returns it. That is the
// owner itself, unless its text is longer than 110 bytes or its network's name longer than 44. A
// longer name is cut and ends with "~" and a hash of all of it, so that different owners stay
// different. Short of a short owner changes nothing.
func (o Owner) Short() Owner {
	o.Network = cut(o.Network, maxNetwork)
	o.ContainerID = cut(o.ContainerID, max(maxOwner-len(o.Network)-len(o.IfName)-2, hashLen+1))
	return o
}

// in reports whether a short owner is of a network; "" is any.
func (o Owner) in(network string) bool { return network == "" || o.Network == cut(network, maxNetwork) }

// comment is the text that the owner's elements carry.
func (o Owner) comment() string { return o.Short().String() }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-len(cutMark)-hashLen] + cutMark + hashOf(s)
}

func hashOf(s string) string {
	sum := sha512.Sum512([]byte(s))
	return hex.EncodeToString(sum[:])[:hashLen]
}

// parseOwner is the reverse of [Owner.comment].
func parseOwner(comment string) (Owner, bool) {
	network, rest, ok := strings.Cut(comment, "/")
	container, ifName, ok2 := strings.Cut(rest, "/")
	o := Owner{network, container, ifName}
	return o, ok && ok2 && o.check() == nil
}

// check refuses an owner that a comment couldn't hold unambiguously.
func (o Owner) check() error {
	for _, f := range [...]struct{ name, value string }{
		{"network", o.Network}, {"container ID", o.ContainerID}, {"interface name", o.IfName},
	} {
		if f.value == "" || strings.ContainsFunc(f.value, forbidden) {
			return fmt.Errorf("nft: owner %q: %s is empty or has a character that no name may have", o.String(), f.name)
		}
	}
	if len(o.IfName) >= unix.IFNAMSIZ {
		return fmt.Errorf("nft: owner %q: interface name is longer than %d bytes", o.String(), unix.IFNAMSIZ-1)
	}
	return nil
}

// forbidden reports whether a character would end a field, a quoted text of the nft program, or a
// line.
func forbidden(r rune) bool { return r == '/' || r == '"' || r == '\\' || r <= ' ' || r == 0x7f }
