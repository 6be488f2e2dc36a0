// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"hash/fnv"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// turns lets the calls of one container come one after the other: those whose caller was killed, too,
// of which a runtime knows nothing any more. Another resident may have begun them, which this one
// follows. So each container has a byte of a file that residents lock (F_OFD_SETLKW, fcntl(2)).
type turns struct {
	sync.Mutex
	waiting map[string]*turn // by container ID
	others  *os.File         // nil: no other resident can be there
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
	t.lockByte(container, unix.F_WRLCK)
	return func() {
		t.lockByte(container, unix.F_UNLCK)
		mine.Unlock()
		t.Lock()
		if mine.calls--; mine.calls == 0 {
			delete(t.waiting, container)
		}
		t.Unlock()
	}
}

// lockByte locks or unlocks a container's byte. Without the lock the call is made all the same, as it
// would be without residents.
func (t *turns) lockByte(container string, how int16) {
	if t.others == nil {
		return
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, container)
	at := int64(h.Sum64() >> 2) // the last byte of a file is before 1<<63
	for {
		l := unix.Flock_t{Type: how, Start: at, Len: 1}
		if err := unix.FcntlFlock(t.others.Fd(), unix.F_OFD_SETLKW, &l); err != unix.EINTR {
			return
		}
	}
}
