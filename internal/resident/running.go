// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"sync"

	"golang.org/x/sys/unix"
)

// running are the calls that are at work. A runtime attaches nothing to a network during its GC (the
// specification's section 2). Once it has killed a plugin, that call is over as far as it knows. But
// here it may go on: a GC with a list of valid attachments that lacks the next one, or an ADD that
// the next GC should see. So an ADD waits for those GCs whose caller is gone, and for any of the
// resident that this one follows. A GC waits for other calls whose caller is gone.
type running struct {
	sync.Mutex
	calls       map[*work]struct{}
	collections int // how many of these are GC: other residents see that there's one
	others      *shared
}

// work is one call. ADDs wait before they are among those that run, and GCs after that. So they
// don't wait for each other.
type work struct {
	conn  int // to its caller
	gc    bool
	ended chan struct{}
}

// begin adds a call, and returns what ends it. conn stays open until then.
func (r *running) begin(conn int, gc bool) (end func()) {
	w := &work{conn, gc, make(chan struct{})}
	r.Lock()
	defer r.Unlock()
	if r.calls == nil {
		r.calls = map[*work]struct{}{}
	}
	r.calls[w] = struct{}{}
	if gc {
		if r.collections++; r.collections == 1 {
			r.others.lock(collecting, unix.F_RDLCK)
		}
	}
	return func() { r.end(w) }
}

func (r *running) end(w *work) {
	r.Lock()
	defer r.Unlock()
	delete(r.calls, w)
	if w.gc {
		if r.collections--; r.collections == 0 {
			r.others.lock(collecting, unix.F_UNLCK)
		}
	}
	close(w.ended)
}

// awaitOrphans waits for those calls, GC or others, whose caller is gone by now. It also waits for the
// GCs of other residents.
func (r *running) awaitOrphans(gc bool) {
	var orphans []*work
	r.Lock()
	if !gc || r.collections > 0 {
		for w := range r.calls {
			if w.gc == gc && isGone(w.conn) {
				orphans = append(orphans, w)
			}
		}
	}
	r.Unlock()
	for _, w := range orphans {
		<-w.ended
	}
	if gc {
		r.others.await(collecting)
	}
}

// isGone reports whether the caller at the other end of a connection may have ended. Nobody shuts one
// down otherwise.
func isGone(conn int) bool { return tells(conn, unix.POLLRDHUP) }

// tells reports whether there's an event at a descriptor, or none can be asked for.
func tells(fd int, events int16) bool {
	fds := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		// A signal interrupts it though it doesn't wait, and Go's scheduler sends signals.
		if n, err := unix.Poll(fds[:], 0); err != unix.EINTR {
			return err != nil || n != 0
		}
	}
}
