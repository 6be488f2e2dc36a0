// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// collections are the calls of GC that run. A runtime attaches nothing to a network during its GC
// (the specification's section 2). Once it has killed the plugin, GC is over as far as it knows. But
// here it may be at work, with a list of valid attachments that lacks the next ones. So an ADD waits
// for those whose caller is gone, and for any of the resident that this one follows.
type collections struct {
	sync.Mutex
	running []*collection
	others  *shared
}

// A collection is one call of GC.
type collection struct {
	conn  int // to its caller
	ended chan struct{}
}

// begin adds one, and returns what ends it. conn stays open until then.
func (cs *collections) begin(conn int) (end func()) {
	c := &collection{conn, make(chan struct{})}
	cs.Lock()
	if cs.running = append(cs.running, c); len(cs.running) == 1 {
		cs.others.lock(collecting, unix.F_RDLCK)
	}
	cs.Unlock()
	return func() {
		cs.Lock()
		i := slices.Index(cs.running, c)
		if cs.running = slices.Delete(cs.running, i, i+1); len(cs.running) == 0 {
			cs.others.lock(collecting, unix.F_UNLCK)
		}
		cs.Unlock()
		close(c.ended)
	}
}

// awaitOrphans waits for those whose caller is gone by now, and for those of other residents.
func (cs *collections) awaitOrphans() {
	cs.Lock()
	var orphans []*collection
	for _, c := range cs.running {
		if isGone(c.conn) {
			orphans = append(orphans, c)
		}
	}
	cs.Unlock()
	for _, c := range orphans {
		<-c.ended
	}
	cs.others.await(collecting)
}

// isGone reports whether the caller at the other end of a connection may have ended. Nobody shuts one
// down otherwise.
func isGone(conn int) bool {
	fds := [1]unix.PollFd{{Fd: int32(conn), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(fds[:], 0)
	return err != nil || n != 0
}
