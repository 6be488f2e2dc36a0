// SPDX-License-Identifier: Apache-2.0

package netavark

import (
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignore makes the process deaf to a signal. Package os/signal can do that, but each call of a plugin would
// initialize it.
func ignore(s unix.Signal) {
	// The kernel's struct sigaction begins with the handler, and its masks have 64 bits. MIPS has flags before it, and twice as many.
	var action [6]uintptr
	handler, maskSize := 0, uintptr(8)
	if strings.HasPrefix(runtime.GOARCH, "mips") {
		handler, maskSize = 1, 16
	}
	action[handler] = 1 // SIG_IGN
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&action)), 0, maskSize, 0, 0)
}
