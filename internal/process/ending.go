// SPDX-License-Identifier: Apache-2.0

package process

import (
	"time"

	"github.com/swiftcni/swiftcni/internal/offload"
	"github.com/swiftcni/swiftcni/ipam"
	"github.com/swiftcni/swiftcni/nft"
)

// An ending is what a process that ends with its answer leaves to a child, so that nobody waits for
// it. nil is a process that goes on, such as an embedder's.
//
// What the kernel makes one wait for is the removal of a link, and closing a socket of nftables
// soon after elements have gone, by this call or before it: their memory is freed first, some 10 ms
// later.
type ending struct {
	late   bool // a socket that's open would keep the process's end waiting
	asked  bool // whether PID 1 reaps what a child leaves
	reaped bool

	sockets  []int           // of nftables, open until the process ends
	children []offload.Child // that were started
}

// offloads reports whether a child may be started: not where nobody would reap it.
func (e *ending) offloads() bool {
	if e == nil {
		return false
	}
	if !e.asked {
		e.asked, e.reaped = true, offload.Reaped()
	}
	return e.reaped
}

// close closes a socket of nftables. gone says that elements may have gone lately.
func (e *ending) close(conn *nft.Conn, gone bool) {
	if e == nil {
		time.AfterFunc(offload.UntilStep(), func() { conn.Close() })
		return
	}
	e.late = e.late || gone // the process's end closes it
	e.sockets = append(e.sockets, conn.FD())
}

// lately reports whether attachments to a network have ended a moment ago, as far as can be told
// where leases usually are.
func (e *ending) lately(network string) bool {
	return e != nil && (e.late || ipam.ReadHistory("", network).EndedLately)
}

// send is how a link's removal is sent. The child that sends it keeps each socket of nftables
// that's open.
func (e *ending) send(fd int, message []byte) error {
	child, err := offload.Send(fd, message, e.sockets...)
	if err == nil {
		e.late = false
		e.children = append(e.children, child)
	}
	return err
}

// finish starts the last child, if one is needed, and waits until none holds anything of the
// process's.
func (e *ending) finish() {
	if e.late && e.offloads() {
		if child, err := offload.Linger(e.sockets...); err == nil { // else the process's own end waits
			e.children = append(e.children, child)
		}
	}
	for _, child := range e.children {
		child.Wait()
	}
}
