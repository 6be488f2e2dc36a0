// SPDX-License-Identifier: Apache-2.0

package inside

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifIndex asks a socket for the index of a link, by struct ifreq.
func ifIndex(fd int, ifreq *[40]byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFINDEX, uintptr(unsafe.Pointer(ifreq))); errno != 0 {
		return errno
	}
	return nil
}
