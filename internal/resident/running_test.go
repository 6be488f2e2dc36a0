// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An ADD waits for a GC whose caller was killed, a GC for an ADD whose caller was, and neither for
// others.
func TestCallsWaitForOrphans(t *testing.T) {
	var r running
	pair := func() (ours, callers int) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fds[0]) })
		return fds[0], fds[1]
	}
	heard, listening := pair()
	defer unix.Close(listening)
	for _, gc := range []bool{false, true} {
		defer r.begin(heard, gc)()
		orphan, killed := pair()
		end := r.begin(orphan, gc)
		unix.Close(killed)
		r.awaitOrphans(!gc)
		var ended atomic.Bool
		time.AfterFunc(50*time.Millisecond, func() { ended.Store(true); end() })
		r.awaitOrphans(gc)
		if !ended.Load() {
			t.Errorf("GC %v: it didn't wait", gc)
		}
	}
	r.awaitOrphans(true)
	r.awaitOrphans(false)
}
