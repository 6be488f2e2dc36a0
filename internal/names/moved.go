// SPDX-License-Identifier: Apache-2.0

package names

import (
	"encoding/hex"
	"strings"

	"github.com/swiftcni/swiftcni/internal/sha512"
)

// movedPrefix begins the alternative names of links that were moved into a container.
const movedPrefix = "swm"

// Moved is the alternative name of a link of the host's that is lent to a container. It says by four
// digits whose network's that is, and by eight whose. It's as long as a name may be, so that an
// ioctl finds it.
func Moved(network, containerID, ifName string) string {
	mark := networkMark(network)
	owner := sha512.Sum512([]byte(network + "\x00" + containerID + "\x00" + ifName))
	return movedPrefix + hex.EncodeToString(mark[:]) + hex.EncodeToString(owner[:4])
}

// IsMoved reports whether a link's alternative name has the form of [Moved].
func IsMoved(name string) bool {
	digits, ok := strings.CutPrefix(name, movedPrefix)
	return ok && len(name) == MaxLink && strings.Trim(digits, "0123456789abcdef") == ""
}

// IsMovedBy reports whether it's that of an attachment to a network, but for one of 65,536 others.
func IsMovedBy(network, name string) bool {
	mark := networkMark(network)
	return IsMoved(name) && strings.HasPrefix(name, movedPrefix+hex.EncodeToString(mark[:]))
}
