// SPDX-License-Identifier: Apache-2.0

package resident

import (
	"encoding/json"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/swiftcni/swiftcni/cni"
	"github.com/swiftcni/swiftcni/internal/calls"
	"golang.org/x/sys/unix"
)

// Limits of those who listen. An event takes some 600 bytes, and at most 4 KiB.
const (
	maxListeners = 8
	maxWaiting   = 512         // events, of each listener
	untilHeard   = time.Second // that a listener has for the rest once no more calls are made
)

// listeners hear of calls. No call waits for them: an event for which one has no room is lost to it.
type listeners struct {
	any atomic.Bool // whether there are some; a call without any costs no more than this look

	sync.Mutex
	list  []*listener
	ended bool
	left  sync.WaitGroup
}

// A listener is a process that hears of calls.
type listener struct {
	conn   *net.UnixConn
	to     output
	events chan *Event
	lost   atomic.Uint64
}

// add lets the process at the other end of a connection hear of calls, on a descriptor. Both are
// the listener's then. It's false if there are too many.
func (l *listeners) add(conn *net.UnixConn, connFD, fd int) bool {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	l.Lock()
	defer l.Unlock()
	if l.ended || len(l.list) == maxListeners {
		unix.Close(fd)
		return false
	}
	one := &listener{conn: conn, to: output{fd: fd, caller: connFD}, events: make(chan *Event, maxWaiting)}
	l.list = append(l.list, one)
	l.any.Store(true)
	l.left.Add(1)
	go func() {
		defer l.left.Done()
		one.serve()
		l.remove(one)
		unix.Close(fd)
		conn.Close()
	}()
	return true
}

func (l *listeners) remove(one *listener) {
	l.Lock()
	defer l.Unlock()
	for i, other := range l.list {
		if other == one {
			l.list = append(l.list[:i:i], l.list[i+1:]...)
			break
		}
	}
	l.any.Store(len(l.list) > 0)
}

// tell tells of a call.
func (l *listeners) tell(c *calls.Told) { l.send(event(c)) }

// Reclaimed tells those who listen that leases of so many attachments have ended, which were provably
// dead, by other work than a call. The event has no verb.
func (s *Server) Reclaimed(attachments int) {
	if attachments > 0 && s.listeners.any.Load() {
		s.listeners.send(&Event{Start: time.Now(), Reclaimed: attachments})
	}
}

func (l *listeners) send(e *Event) {
	l.Lock()
	defer l.Unlock()
	for _, one := range l.list {
		select {
		case one.events <- e:
		default:
			one.lost.Add(1)
		}
	}
}

// end lets each listener have the events that wait for it, if it takes them soon, and returns once
// all have gone. No call may run any more.
func (l *listeners) end() {
	l.Lock()
	l.ended = true
	list := l.list
	l.list = nil
	l.Unlock()
	for _, one := range list {
		close(one.events)
	}
	late := time.AfterFunc(untilHeard, func() {
		for _, one := range list {
			_ = one.conn.CloseRead() // which ends a wait for it
		}
	})
	l.left.Wait()
	late.Stop()
}

// serve tells the resident's version, and then each event, until the listener goes or the events end.
func (l *listener) serve() {
	gone := make(chan struct{})
	go func() {
		var b [1]byte
		_, _ = l.conn.Read(b[:]) // nothing more is sent, so this ends with the listener
		close(gone)
	}()
	answer(l.conn, 0)
	if _, err := l.to.Write([]byte(cni.Version() + "\n")); err != nil {
		return
	}
	for {
		select {
		case <-gone:
			return
		case e, ok := <-l.events:
			if !ok || l.write(*e) != nil {
				return
			}
		}
	}
}

func (l *listener) write(e Event) error {
	e.Lost = l.lost.Load()
	line, err := json.Marshal(&e)
	if err != nil {
		return err
	}
	_, err = l.to.Write(append(line, '\n'))
	return err
}
