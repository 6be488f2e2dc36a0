// SPDX-License-Identifier: Apache-2.0

package names

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// UnusedGroup is a number that nobody else has chosen for a group of links, but for one chance in
// two billion.
func UnusedGroup() (uint32, error) {
	var random [4]byte
	if _, err := unix.Getrandom(random[:], 0); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint32(random[:]) | 1<<31, nil // small ones are people's
}
