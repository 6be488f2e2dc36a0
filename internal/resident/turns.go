// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"sync"

	"golang.org/x/sys/unix"
)

// turns lets the calls of one container come one after the other: those whose caller was killed, too,
// of which a runtime knows nothing any more. Another resident may have begun them, which this one
// follows. So each container has a byte of what residents share.
type turns struct {
	sync.Mutex
	waiting map[string]*turn // by container ID
	others  *shared
}

// A turn is a container's.
type turn struct {
	sync.Mutex
	calls int // that have it or wait for it
}

// take waits for the container's turn, and returns what ends it.
func (t *turns) take(container string) (end func()) {
	if container == "" {
		return func() {}
	}
	t.Lock()
	mine := t.waiting[container]
	if mine == nil {
		mine = &turn{}
		t.waiting[container] = mine
	}
	mine.calls++
	t.Unlock()
	mine.Lock()
	place := byteOf(container)
	t.others.lock(place, unix.F_WRLCK)
	return func() {
		t.others.lock(place, unix.F_UNLCK)
		mine.Unlock()
		t.Lock()
		if mine.calls--; mine.calls == 0 {
			delete(t.waiting, container)
		}
		t.Unlock()
	}
}
