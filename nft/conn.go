// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
)

// receiveLen is the size that the kernel aims at for a dump's datagrams. A refusal quotes the
// refused message and may be longer. Its end is dropped.
const receiveLen = 8 << 10

// A Conn is a socket to the nf_tables of one network namespace. One goroutine at a time may use it.
//
// The error of a method is an [*Error] for a change or a look-up that the kernel refused, an
// [*UnsupportedError], [ErrInterrupted], or the socket's, which wraps an errno. A value that no
// ruleset can hold, such as an owner without a name, is an error of its own before anything is
// sent. What else a method may return it says itself. Arguments aren't changed or kept, and results
// are the caller's.
type Conn struct {
	socket   *nlsock.Socket
	sequence uint32
	buffer   []byte
	waiting  []byte           // the part of buffer that wasn't looked at yet
	lives    func(Owner) bool // see Spare; may be nil
}

// Dial opens a Conn in the calling thread's network namespace. It stays there. Nothing is sent yet.
// So if a kernel has nfnetlink but no nf_tables, that shows only in the first call. The error is an
// [*UnsupportedError] or that of socket(2). Dial waits for nobody.
func Dial() (*Conn, error) {
	s, err := nlsock.Open(unix.NETLINK_NETFILTER)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return nil, &UnsupportedError{Missing: "nfnetlink (CONFIG_NETFILTER_NETLINK)", Err: err}
	}
	if err != nil {
		return nil, err
	}
	return &Conn{socket: s}, nil
}

// Close closes the socket. If any process deleted something from the ruleset in the last few
// milliseconds, the kernel first frees it. That takes an RCU grace period, about 10 ms. The end of
// a process with an open Conn takes as long. Callers that can't wait should hand the descriptor
// ([Conn.FD]) to another process, or close from another goroutine.
func (c *Conn) Close() error { return c.socket.Close() }

// Clean reports whether a Conn is as good as a new one, for work that has nothing to do with its
// work so far: nothing has failed at its socket, nothing waits there, and it spares nobody
// ([Conn.Spare]). It's one system call.
func (c *Conn) Clean() bool { return c.lives == nil && len(c.waiting) == 0 && c.socket.Clean() }

// FD returns the socket's descriptor. The Conn still owns it.
func (c *Conn) FD() int { return c.socket.FD() }

// commit sends a transaction. If generation isn't nil, it's the ruleset's generation that the
// transaction was made for. In any other the kernel refuses it with ERESTART (Linux 4.10; older
// ones ignore it).
//
// The kernel answers while it handles sendmsg(2), so all answers wait at the socket when that
// returns. The acknowledgement of a transaction's END exists only since 6.10. So the last change
// asks for one. Its answer comes last, after a refusal of the commit, which carries BEGIN's number.
// A transaction that isn't even begun gets one refusal with that number, and nothing else.
func (c *Conn) commit(b *batch, generation *uint32) error {
	ms := b.messages()
	if len(ms) == 0 {
		return nil
	}
	ms[len(ms)-1].Header.Flags |= netlink.Acknowledge
	ms = frame(ms, generation)
	first := c.number(ms)
	if err := c.socket.SendMessages(ms); err != nil {
		return err
	}
	m, err := c.receive(first)
	if err != nil {
		return err
	}
	errno, reason := nlsock.Answer(m)
	if errno == 0 && m.Header.Sequence == first+uint32(len(ms))-2 {
		return nil
	}
	c.drain()
	refused := &Error{Change: "commit", Step: Whole, Reason: reason, Errno: errno}
	if at := int(m.Header.Sequence - first); at > 0 && at < len(ms) {
		// BEGIN is ms[0].
		refused.Change, refused.Step, refused.options = describe(ms[at]), at-1, options(ms[at])
	}
	return refused.explain()
}

// frame puts a transaction's BEGIN and END around messages.
func frame(ms []netlink.Message, generation *uint32) []netlink.Message {
	begin := netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: genMessage(0, unix.NFNL_SUBSYS_NFTABLES, 8)}
	if generation != nil {
		begin.Data = binary.NativeEndian.AppendUint16(begin.Data, 8)
		begin.Data = binary.NativeEndian.AppendUint16(begin.Data, unix.NFNL_BATCH_GENID)
		begin.Data = binary.BigEndian.AppendUint32(begin.Data, *generation)
	}
	end := netlink.Message{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: genMessage(0, unix.NFNL_SUBSYS_NFTABLES, 0)}
	framed := make([]netlink.Message, 0, len(ms)+2)
	framed = append(framed, begin)
	framed = append(framed, ms...)
	return append(framed, end)
}

// genMessage is struct nfgenmsg (linux/netfilter/nfnetlink.h), with room for attributes.
func genMessage(family byte, resource uint16, room int) []byte {
	b := append(make([]byte, 0, genMessageLen+room), family, unix.NFNETLINK_V0)
	return binary.BigEndian.AppendUint16(b, resource)
}

func messageType(m int) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | m)
}

// number gives messages consecutive numbers and returns the first.
func (c *Conn) number(ms []netlink.Message) (first uint32) {
	first = c.sequence + 1
	for i := range ms {
		c.sequence++
		ms[i].Header.Sequence = c.sequence
	}
	return first
}

// receive returns the next message that answers number first or a later one. It's valid until the
// next receive. EAGAIN says that none waits.
func (c *Conn) receive(first uint32) (netlink.Message, error) {
	for {
		if len(c.waiting) == 0 {
			if err := c.receiveDatagram(); err != nil {
				return netlink.Message{}, err
			}
		}
		m, rest, err := nlsock.Parse(c.waiting)
		c.waiting = rest
		// Numbers wrap around, so "earlier" is a difference of more than half the circle.
		if err != nil || m.Header.Sequence-first < 1<<31 {
			return m, os.NewSyscallError("recvfrom", err)
		}
	}
}

func (c *Conn) receiveDatagram() error {
	if c.buffer == nil {
		c.buffer = make([]byte, receiveLen)
	}
	for {
		n, err := c.socket.Recv(c.buffer, unix.MSG_DONTWAIT)
		switch err {
		case nil:
			c.waiting = c.buffer[:n]
			return nil
		case unix.EINTR:
		default:
			return os.NewSyscallError("recvfrom", err)
		}
	}
}

// drain throws away the messages that still wait.
func (c *Conn) drain() {
	for c.waiting = nil; c.receiveDatagram() == nil; c.waiting = nil {
	}
}

// A reply answers one message of ask.
type reply struct {
	data  []byte // behind the nfgenmsg; nil if refused
	errno syscall.Errno
}

// askAtOnce bounds how many answers wait at the socket: more than its buffer holds would be lost.
const askAtOnce = 32

// ask sends look-ups that are answered by one message each, and returns the answers in their order.
// A look-up that finds nothing has errno ENOENT; any other refusal is an error.
func (c *Conn) ask(ms []netlink.Message) ([]reply, error) {
	replies := make([]reply, 0, len(ms))
	for len(ms) > 0 {
		n := min(len(ms), askAtOnce)
		first := c.number(ms[:n])
		if err := c.socket.SendMessages(ms[:n]); err != nil {
			return nil, err
		}
		for i := range n {
			m, err := c.receive(first)
			if err != nil {
				return nil, err
			}
			r, err := decodeReply(m)
			if err != nil {
				return nil, err
			}
			if r.errno != 0 && r.errno != unix.ENOENT {
				return nil, (&Error{Change: describe(ms[i]), Step: i, Errno: r.errno}).explain()
			}
			replies = append(replies, r)
		}
		ms = ms[n:]
	}
	return replies, nil
}

// dump sends a request for a list and gives each entry, behind its nfgenmsg, to entry. If the
// ruleset changes while the kernel lists, dump returns errChanged, and the entries that it gave are
// no true list.
func (c *Conn) dump(m netlink.Message, entry func([]byte) error) error {
	m.Header.Flags = netlink.Request | netlink.Dump
	ms := []netlink.Message{m}
	first := c.number(ms)
	if err := c.socket.SendMessages(ms); err != nil {
		return err
	}
	changed := false
	for {
		m, err := c.receive(first)
		if err != nil {
			return err
		}
		changed = changed || m.Header.Flags&netlink.DumpInterrupted != 0
		switch m.Header.Type {
		case netlink.Error, netlink.Done:
			errno, reason := nlsock.Answer(m)
			switch {
			case errno != 0:
				return (&Error{Change: describe(ms[0]), Reason: reason, Errno: errno}).explain()
			case changed:
				return errChanged
			}
			return nil
		}
		if len(m.Data) < genMessageLen {
			return errMalformed
		}
		if err := entry(m.Data[genMessageLen:]); err != nil {
			c.drain()
			return err
		}
	}
}
