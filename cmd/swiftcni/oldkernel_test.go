// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/swiftcni/swiftcni/internal/test/oldkernel"
	"golang.org/x/sys/unix"
)

// kernelVar gives every world of this run an older kernel: ENOSYS and EPERM say how it refuses the calls
// that it lacks. `make old-kernels` has all scripts run so.
const kernelVar = "SWIFTCNI_TEST_KERNEL"

var kernels = map[string]oldkernel.Kernel{"": 0, "ENOSYS": oldkernel.Kernel(unix.ENOSYS), "EPERM": oldkernel.Kernel(unix.EPERM)}

// kernelOfRun is the kernel that the environment names.
func kernelOfRun(t testing.TB) oldkernel.Kernel {
	t.Helper()
	name := os.Getenv(kernelVar)
	k, ok := kernels[name]
	if !ok {
		t.Fatalf("%s is %q, want ENOSYS or EPERM", kernelVar, name)
	}
	return k
}

// The scripts say the same on a kernel without the newer calls, however it refuses them. These are the
// ones that need many kinds of calls.
func TestScriptOnOldKernel(t *testing.T) {
	for _, name := range []string{"ENOSYS", "EPERM"} {
		t.Run(name, func(t *testing.T) {
			runScripts(t, func(w *world) { w.kernel = kernels[name] },
				"adopt", "chain", "check", "del", "delegated_ipam", "gc", "macvlan", "masquerade", "reference", "status", "tap", "uplink")
		})
	}
}

// A resident can't know there who calls. It sends each call back, and says nothing of it.
func TestResidentOnOldKernel(t *testing.T) {
	for _, name := range []string{"ENOSYS", "EPERM"} {
		t.Run(name, func(t *testing.T) {
			var residents []*residing
			var mu sync.Mutex
			t.Run("all", func(t *testing.T) {
				runScripts(t, func(w *world) {
					w.kernel = kernels[name]
					r := w.reside()
					mu.Lock()
					defer mu.Unlock()
					residents = append(residents, r)
				}, "chain", "check", "del", "gc")
			})
			for _, r := range residents {
				if said := r.said(); len(said) > 0 {
					t.Errorf("a resident says %s", strings.Join(said, ", "))
				}
			}
		})
	}
}
