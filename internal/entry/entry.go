// SPDX-License-Identifier: Apache-2.0

// Package entry spares a program the work of the Go runtime at its start to choose GOMAXPROCS.
//
// Since Go 1.25 the runtime reads /proc/self/cgroup, /proc/self/mountinfo as far as the cgroup's
// mount, and the CPU limit's files before main, whatever GODEBUG says. That takes 0.1 ms of every
// call of a plugin with twenty mounts, and a little more on a node with the mounts of a thousand
// containers.
//
// If the runtime can't open the first of these files, it assumes a host without cgroups. So the
// instructions of entry_*.s, which run before the runtime, lower the soft limit of open files to 3.
// Package syscall raises it to the hard limit before any code of the program itself. [Restore] sets
// it back to the caller's value. A program gets all this if it's linked with [Flag] and imports the
// package. Without either it only starts slower.
//
// The instructions also set [runtime.MemProfileRate] to 0. The runtime does so by itself for a
// program that doesn't use heap profiles, but only after its first allocations. It samples the
// first of them: a traceback, and a table of 1.4 MB.
package entry

import (
	"runtime"
	"syscall"
)

// Flag is the flag for the linker (cmd/link, flag -E). It names the symbol at which the program
// begins.
const Flag = "-E swiftcni_entry"

// callers is the caller's RLIMIT_NOFILE, as swiftcni_entry found it, and lowered is the limit that
// it set instead. Both are zero if there is no limit at all, as in a program that began elsewhere.
var callers, lowered syscall.Rlimit

// sampling is where the runtime keeps how often it samples allocations.
//
//lint:ignore U1000 swiftcni_entry reads it
var sampling = &runtime.MemProfileRate

// Restore sets the limit of open files to the caller's, for this process and those that it starts.
func Restore() {
	if lowered.Max != 0 {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &callers)
	}
}
