// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An ADD waits for a GC whose caller was killed, and for no other.
func TestAttachmentsWaitForOrphanedCollections(t *testing.T) {
	var cs collections
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
	defer cs.begin(heard)()
	cs.awaitOrphans() // its caller waits for it, so it isn't waited for

	orphan, killed := pair()
	end := cs.begin(orphan)
	unix.Close(killed)
	var ended atomic.Bool
	time.AfterFunc(50*time.Millisecond, func() { ended.Store(true); end() })
	cs.awaitOrphans()
	if !ended.Load() {
		t.Error("it didn't wait")
	}
	cs.awaitOrphans()
}
