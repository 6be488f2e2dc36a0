// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Batch is a list of changes, held as the bytes of their messages. The zero Batch is empty and
// ready. Building one makes no system call, and no allocation once its buffer has grown. A step is
// a change's place in it, counted from 0.
//
// A change may be impossible to send: its name is too long, or its address has no link. The batch
// remembers that, and it becomes the error of [Conn.Do], which then sends nothing.
type Batch struct {
	enc   encoder
	steps []int    // offset of each message in enc.buf
	ns    []*NetNS // whose descriptors the messages hold, to print their paths
	err   error
}

// An Object is what a batch changes: [Link], [Veth], [Bridge], [Macvlan], [IPVLAN], [VLAN], [VRF],
// [AltName], [Addr], [Route], [Neigh], [Port], [PortVLAN], [TBF], [Ingress], [Redirect] or [Rule].
type Object interface {
	// write appends what the change says of the object, in iproute2's words.
	write(w *words)
}

// A verb is what is done to an object.
type verb uint8

const (
	create verb = iota
	ensure
	set
	remove
	appendTo
	prependTo
)

var verbNames = [...]string{"create", "ensure", "set", "delete", "append", "prepend"}

func (v verb) String() string { return verbNames[v] }

// flags are the request's flags (linux/netlink.h). Links know no NLM_F_REPLACE (rtnl_newlink
// refuses it).
func (v verb) flags() uint16 {
	switch v {
	case create:
		return unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_EXCL
	case ensure:
		return unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	case appendTo:
		return unix.NLM_F_REQUEST | unix.NLM_F_CREATE | unix.NLM_F_APPEND
	case prependTo:
		return unix.NLM_F_REQUEST | unix.NLM_F_CREATE
	}
	return unix.NLM_F_REQUEST
}

// Create adds an object that must not exist yet. One that exists is refused as [io/fs.ErrExist].
// For a [Route] that is any route to the same destination in the same table with the same priority.
func (b *Batch) Create(o Object) { b.add(create, o) }

// Ensure adds an object, or changes the one that exists to equal it. A [Veth] that exists is
// refused, since it can't be changed.
func (b *Batch) Ensure(o Object) { b.add(ensure, o) }

// Set changes an object that must exist. Zero fields stay as they are. Links, bridges, ports and
// neighbours can be set; an address or a route is its own identity.
func (b *Batch) Set(o Object) { b.add(set, o) }

// Delete removes an object. Only the fields that identify it are used. An object that is missing is
// refused as [io/fs.ErrNotExist].
func (b *Batch) Delete(o Object) { b.add(remove, o) }

// Append adds a route after others to the same destination with the same priority, which go on to
// be used. Only an identical route, gateway included, is refused as [io/fs.ErrExist].
func (b *Batch) Append(r Route) { b.add(appendTo, r) }

// Prepend is Append, but the new IPv4 route goes before the others and is used instead of them. A
// route that is sent with NLM_F_CREATE alone does the same. For IPv6, both make one route with
// several next hops.
func (b *Batch) Prepend(r Route) { b.add(prependTo, r) }

// Len returns the number of changes.
func (b *Batch) Len() int { return len(b.steps) }

// Reset empties the batch and keeps its buffer.
func (b *Batch) Reset() {
	clear(b.ns)
	b.enc.buf, b.steps, b.ns, b.err = b.enc.buf[:0], b.steps[:0], b.ns[:0], nil
}

// add switches on the type rather than call a method of it, so that the object needn't escape to
// the heap.
func (b *Batch) add(v verb, o Object) {
	switch o := o.(type) {
	case Link:
		o.encode(b, v)
	case Veth:
		o.encode(b, v)
	case Bridge:
		o.encode(b, v)
	case Macvlan:
		b.addKind(v, o.kindLink())
	case IPVLAN:
		b.addKind(v, o.kindLink())
	case VLAN:
		b.addKind(v, o.kindLink())
	case VRF:
		b.addKind(v, o.kindLink())
	case kindLink:
		b.addKind(v, o)
	case AltName:
		o.encode(b, v)
	case Addr:
		o.encode(b, v)
	case Route:
		o.encode(b, v)
	case Neigh:
		o.encode(b, v)
	case Port:
		o.encode(b, v)
	case PortVLAN:
		o.encode(b, v)
	case TBF:
		o.encode(b, v)
	case Ingress:
		o.encode(b, v)
	case Redirect:
		o.encode(b, v)
	case Rule:
		o.encode(b, v)
	}
}

// begin starts the message of a new step.
func (b *Batch) begin(typ, flags uint16) {
	b.steps = append(b.steps, b.enc.begin(typ, flags))
}

// end ends the message of the last step.
func (b *Batch) end() { b.enc.end(b.steps[len(b.steps)-1]) }

// fail remembers the first change that can't be sent. It's called between begin and end.
func (b *Batch) fail(errno syscall.Errno, reason string) {
	if b.err == nil {
		b.err = &pendingError{step: len(b.steps) - 1, errno: errno, reason: reason}
	}
}

// unsupported remembers a verb that an object doesn't know.
func (b *Batch) unsupported(v verb, noun string) {
	if b.err == nil {
		b.err = fmt.Errorf("rtnl: %s %s: %w", v, noun, errors.ErrUnsupported)
	}
}

// pendingError becomes an [Error] when the batch is complete and can be decoded.
type pendingError struct {
	step   int
	errno  syscall.Errno
	reason string
}

func (e *pendingError) Error() string { return e.reason }

// invalid returns why the batch can't be sent, or nil.
func (b *Batch) invalid() error {
	p, ok := b.err.(*pendingError)
	if !ok {
		return b.err
	}
	return &Error{Change: b.change(p.step), Step: p.step, Reason: p.reason, Errno: p.errno}
}

// message returns the bytes of a step.
func (b *Batch) message(step int) []byte {
	m := b.enc.buf[b.steps[step]:]
	return m[:binary.NativeEndian.Uint32(m)]
}

// String decodes the batch's own bytes: one line a change, in iproute2's words. A link that is
// known only by its index is shown by the name that another change of the batch gives it. Without
// such a change it's shown by number.
func (b *Batch) String() string {
	var s strings.Builder
	w := b.words(&s)
	for i := range b.steps {
		w.change(b.message(i))
		s.WriteByte('\n')
	}
	return s.String()
}

// change is one line of String.
func (b *Batch) change(step int) string {
	var s strings.Builder
	b.words(&s).change(b.message(step))
	return s.String()
}

// words prepares to print: it learns which names the batch itself gives to indexes.
func (b *Batch) words(s *strings.Builder) *words {
	w := &words{s: s, ns: b.ns}
	for i := range b.steps {
		switch _, o, _ := decodeChange(b.message(i)); o := o.(type) {
		case Link:
			w.learn(o)
		case Bridge:
			w.learn(o.Link)
		case kindLink:
			w.learn(o.Link)
		case Veth:
			w.learn(o.Link)
			w.learn(o.Peer)
		}
	}
	return w
}
