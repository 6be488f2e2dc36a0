// SPDX-License-Identifier: Apache-2.0

package process

import (
	"time"

	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/ipam"
)

// An ending is the work that a process leaves to a child when it ends with its answer, so that
// nobody waits for it. nil is a process that goes on, such as an embedder's.
//
// The kernel makes a process wait for two things: the removal of a link, and the closing of a
// socket of nftables soon after elements have gone, by this call or before it. Their memory is
// freed first, some 10 ms later.
type ending struct {
	late   bool // an open socket would delay the process's end
	asked  bool // it's known whether PID 1 reaps children
	reaped bool

	sockets  []int           // of nftables, open until the process ends
	children []offload.Child // that were started
}

// offloads reports whether a child may be started. It may not if nobody would reap it.
func (e *ending) offloads() bool {
	if e == nil {
		return false
	}
	if !e.asked {
		e.asked, e.reaped = true, offload.Reaped()
	}
	return e.reaped
}

// A netfilter is a socket of nfnetlink.
type netfilter interface {
	FD() int
	Close() error
}

// close closes a socket of nfnetlink. gone says that elements may have gone lately.
func (e *ending) close(conn netfilter, gone bool) {
	if e == nil {
		time.AfterFunc(offload.UntilStep(), func() { conn.Close() })
		return
	}
	e.late = e.late || gone // the process's end closes it
	e.sockets = append(e.sockets, conn.FD())
}

// lately reports whether attachments to a network have ended a moment ago. It looks only at the
// usual directory of leases.
func (e *ending) lately(network string) bool {
	return e != nil && (e.late || ipam.ReadHistory("", network).EndedLately)
}

// send sends a link's removal. The child that sends it keeps each open socket of nftables.
func (e *ending) send(fd int, message []byte) error {
	child, err := offload.Send(fd, message, e.sockets...)
	if err == nil {
		e.late = false
		e.children = append(e.children, child)
	}
	return err
}

// finish starts the last child, if one is needed, and waits until no child holds anything of the
// process's.
func (e *ending) finish() {
	if e.late && e.offloads() {
		// On an error the process's own end waits.
		if child, err := offload.Linger(e.sockets...); err == nil {
			e.children = append(e.children, child)
		}
	}
	for _, child := range e.children {
		child.Wait()
	}
}
