// SPDX-License-Identifier: Apache-2.0

// Package entry keeps a program's start from growing with the host's mounts.
//
// Since Go 1.25 the runtime reads /proc/self/cgroup, all of /proc/self/mountinfo and the CPU limit's files before
// main, whatever GODEBUG says, to choose GOMAXPROCS. On a node with a thousand containers mountinfo has some
// thousand lines, each several microseconds of every call of every plugin; with twenty it's 0.1 ms already.
//
// The runtime takes it for a host without cgroups when it can't open the first of these files. So the instructions
// of entry_*.s, which run before the runtime, lower the soft limit of open files to 3; package syscall raises it to
// the hard limit before any code of the program's own; and [Restore] makes it again what the caller gave. A program
// has them if it's linked with [Flag] and imports the package. Without either it only starts slower.
package entry

import "syscall"

// Flag is what to tell the linker (cmd/link, flag -E): the symbol where the program begins.
const Flag = "-E swiftcni_entry"

// callers is the caller's RLIMIT_NOFILE, found by swiftcni_entry, and lowered what it replaced it by. No limit at
// all, as in a program that began elsewhere, leaves them zero.
var callers, lowered syscall.Rlimit

// Restore sets the limit of open files to the caller's, for this process and those that it starts.
func Restore() {
	if lowered.Max != 0 {
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &callers)
	}
}
