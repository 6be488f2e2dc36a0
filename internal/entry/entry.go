// SPDX-License-Identifier: Apache-2.0

// Package entry spares a program what the Go runtime does at its start to choose GOMAXPROCS.
//
// Since Go 1.25 the runtime reads /proc/self/cgroup, /proc/self/mountinfo as far as the cgroup's mount, and the CPU
// limit's files before main, whatever GODEBUG says. That takes 0.1 ms of every call of a plugin with twenty mounts,
// and a little more on a node with the mounts of a thousand containers.
//
// The runtime takes it for a host without cgroups when it can't open the first of these files. So the instructions
// of entry_*.s, which run before the runtime, lower the soft limit of open files to 3; package syscall raises it to
// the hard limit before any code of the program's own; and [Restore] makes it again what the caller gave. A program
// has them if it's linked with [Flag] and imports the package. Without either it only starts slower.
//
// They also set [runtime.MemProfileRate] to 0. The runtime does so by itself for a program that has no use for a heap
// profile, but only after its first allocations, of which it samples the first: a traceback, and a table of 1.4 MB.
package entry

import (
	"runtime"
	"syscall"
)

// Flag is what to tell the linker (cmd/link, flag -E): the symbol where the program begins.
const Flag = "-E swiftcni_entry"

// callers is the caller's RLIMIT_NOFILE, found by swiftcni_entry, and lowered what it replaced it by. No limit at
// all, as in a program that began elsewhere, leaves them zero.
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
