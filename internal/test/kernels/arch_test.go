// SPDX-License-Identifier: Apache-2.0

//go:build worlds

package kernels

import (
	"path/filepath"
	"testing"
)

// The instructions of arm64 enter namespaces, and hand calls over to a resident.
func TestARM64(t *testing.T) {
	t.Parallel()
	tool := filepath.Join(t.TempDir(), "swiftctl")
	goTool(t, ARM64, "cmd/swiftctl", "build", "-ldflags", ARM64.begins("entry"), "-o", tool, ".")
	runsPlugins(t, Bookworm, ARM64, "6.1.", map[string]string{"bin/swiftctl": tool}, resident...)
}

// A big-endian machine.
func TestS390X(t *testing.T) {
	t.Parallel()
	runsPlugins(t, Bookworm, S390X, "6.1.", nil)
}

// A machine of 32 bits, with what rtnl sends to its kernel.
func TestARM(t *testing.T) {
	t.Parallel()
	rtnl := step{"rtnl", "modprobe tun && cd rtnl && rtnl.test -test.v -test.timeout 0", passes}
	runsPlugins(t, Bookworm, ARM, "6.1.", packageTests(t, ARM, "rtnl"), rtnl)
}

// Debian 12 has no kernel for it.
func TestRISCV64(t *testing.T) {
	t.Parallel()
	runsPlugins(t, Trixie, RISCV64, "6.12.", nil)
}

// Pages of 64 KiB, and numbers of ioctl(2) that differ from those of others.
func TestPPC64LE(t *testing.T) {
	t.Parallel()
	runsPlugins(t, Bookworm, PPC64LE, "6.1.", nil)
}

// Numbers of system calls, of socket options and of flags that differ from those of others.
func TestMIPS64LE(t *testing.T) {
	t.Parallel()
	runsPlugins(t, Bookworm, MIPS64LE, "6.1.", nil)
}

// resident: a plugin hands its call over before Go's runtime starts, which couldn't in the memory
// that it has.
var resident = []step{
	{"without_a_resident", "ip netns add r1; ulimit -v 16000; cni ADD r1 plain", fails},
	{"listens", `swiftctl serve < /dev/null > /run/resident.log 2>&1 & echo $! > /run/resident.pid
		for i in $(seq 6000); do [ -S /run/swiftcni/resident ] && exit 0; busybox sleep 0.1; done; exit 1`, succeeds},
	{"handed_over_add", "ulimit -v 16000; cni ADD r1 plain", tells("10.5.0.2/24")},
	{"handed_over_reaches_the_gateway", "inside r1 ping -c1 -W60 10.5.0.1", succeeds},
	{"handed_over_refusal", "ulimit -v 16000; cni ADD nobody plain", refuses(`"code": 4`)},
	{"handed_over_del", "ulimit -v 16000; cni DEL r1 plain", prints("")},
	{"handed_over_is_gone", "ip -netns r1 link show eth0", fails},
	{"resident_dies_in_an_add", "cni ADD r1 fatal", refuses("the resident process ended during the call")},
	{"del_without_it", "cni DEL r1 fatal", prints("")},
	{"add_without_it", "cni ADD r1 plain && cni DEL r1 plain", tells("10.5.0.3/24")},
}
