// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"errors"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Places and handles of queueing disciplines (linux/pkt_sched.h).
const (
	handleRoot        = 0xffffffff // TC_H_ROOT, a parent
	handleIngress     = 0xfffffff1 // TC_H_INGRESS, a parent
	handleFirst       = 1 << 16    // 1:
	handleIngressOwn  = 0xffff0000 // ffff:, what an ingress discipline is always called
	sizeofTCMsg       = 20         // struct tcmsg (linux/rtnetlink.h)
	sizeofTBF         = 36         // struct tc_tbf_qopt
	linkLayerEthernet = 1          // TC_LINKLAYER_ETHERNET: no rate table is needed
)

// Attributes of a tbf (linux/pkt_sched.h).
const (
	tbfParms  = 1 // TCA_TBF_PARMS
	tbfRate64 = 4 // TCA_TBF_RATE64
	tbfBurst  = 6 // TCA_TBF_BURST
)

// BufferStep is the kernel's unit of [TBF].Buffer (PSCHED_SHIFT, net/pkt_sched.h), the same on all
// kernels since 2.6.31.
const BufferStep = 64 * time.Nanosecond

// MaxBuffer is the longest [TBF].Buffer: 32 bits of 64 ns, about 275 s.
const MaxBuffer = (1<<32 - 1) * BufferStep

// A TBF is a token bucket filter: the queueing discipline that shapes a link's frames to a rate.
// It's the link's root, with handle 1:. Delete doesn't remove a root of another kind or handle:
// that is refused with EINVAL or ENOENT.
//
// Give it to a link that is down if you can. Replacing the root of a link that is up waits for an
// RCU grace period.
type TBF struct {
	// Link is the link's index.
	Link int
	// Rate is in bytes a second.
	Rate uint64
	// Buffer is how long a full bucket lasts at the rate: a multiple of 64 ns, at most [MaxBuffer].
	Buffer time.Duration
	// Burst is the size of the bucket in bytes, for one that lasts longer than MaxBuffer. The
	// kernel then ignores Buffer. It's zero in a TBF that was read.
	Burst uint32
	// Limit is how many bytes may wait for tokens. Frames beyond that are dropped.
	Limit uint32
}

// ErrNotTBF is the error for a link whose root queueing discipline isn't a [TBF].
var ErrNotTBF = errors.New("rtnl: root queueing discipline isn't a tbf")

func (q TBF) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWQDISC)
	if v == remove {
		typ = unix.RTM_DELQDISC
	}
	b.begin(typ, v.flags())
	tcHeader(&b.enc, q.Link, handleFirst, handleRoot, 0)
	b.enc.str(unix.TCA_KIND, "tbf")
	if v != remove {
		q.options(b)
	}
	b.end()
}

func (q *TBF) options(b *Batch) {
	if q.Rate == 0 || q.Buffer < 0 || q.Buffer > MaxBuffer {
		b.fail(syscall.EINVAL, "a tbf needs a rate, and a buffer of at most 275 s")
	}
	e := &b.enc
	options := e.plainNest(unix.TCA_OPTIONS)
	e.attr(tbfParms, sizeofTBF)
	// struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate.
	e.fixed(0, linkLayerEthernet, 0, 0, 0, 0, 0, 0)
	e.fixed32(uint32(min(q.Rate, 1<<32-1)))
	for range 3 {
		e.fixed32(0) // no peak rate
	}
	e.fixed32(q.Limit)
	e.fixed32(uint32(q.Buffer / BufferStep))
	e.fixed32(0)
	if q.Rate >= 1<<32 {
		e.attr(tbfRate64, 8)
		e.buf = binary.NativeEndian.AppendUint64(e.buf, q.Rate)
	}
	if q.Burst != 0 {
		e.u32(tbfBurst, q.Burst)
	}
	e.endNest(options)
}

// tcHeader appends a struct tcmsg (linux/rtnetlink.h).
func tcHeader(e *encoder, link int, handle, parent, info uint32) {
	e.fixed(unix.AF_UNSPEC, 0, 0, 0)
	e.fixed32(uint32(link))
	e.fixed32(handle)
	e.fixed32(parent)
	e.fixed32(info)
}

// An Ingress is the queueing discipline that lets a link's filters, such as a [Redirect], see the
// frames that it receives. Its handle is ffff:, and a link has at most one. Deleting it deletes its
// filters.
type Ingress struct {
	// Link is the link's index.
	Link int
}

func (q Ingress) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWQDISC)
	switch v {
	case set:
		b.unsupported(v, "ingress")
		return
	case remove:
		typ = unix.RTM_DELQDISC
	}
	b.begin(typ, v.flags())
	tcHeader(&b.enc, q.Link, handleIngressOwn, handleIngress, 0)
	b.enc.str(unix.TCA_KIND, "ingress")
	b.end()
}

// A tcMessage is a decoded struct tcmsg. Its options depend on the kind.
type tcMessage struct {
	link                 int
	handle, parent, info uint32
	kind                 string
	options              []byte
}

func decodeTC(b []byte) (m tcMessage, err error) {
	if len(b) < sizeofTCMsg {
		return m, errShort
	}
	m.link = int(int32(binary.NativeEndian.Uint32(b[4:])))
	m.handle, m.parent, m.info = binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:]), binary.NativeEndian.Uint32(b[16:])
	a := attrs{rest: b[sizeofTCMsg:]}
	for a.next() {
		switch a.typ {
		case unix.TCA_KIND:
			m.kind = a.str()
		case unix.TCA_OPTIONS:
			m.options = a.val
		}
	}
	return m, a.err
}

func decodeQdiscChange(b []byte) (Object, error) {
	m, err := decodeTC(b)
	switch {
	case err != nil:
		return nil, err
	case m.kind == "ingress":
		return Ingress{Link: m.link}, nil
	case m.kind == "tbf":
		return tbfOf(m)
	}
	return nil, ErrNotTBF
}

func tbfOf(m tcMessage) (TBF, error) {
	q := TBF{Link: m.link}
	a := attrs{rest: m.options}
	for a.next() {
		switch a.typ {
		case tbfParms:
			if a.need(sizeofTBF) {
				q.Rate = max(q.Rate, uint64(binary.NativeEndian.Uint32(a.val[8:])))
				q.Limit = binary.NativeEndian.Uint32(a.val[24:])
				q.Buffer = time.Duration(binary.NativeEndian.Uint32(a.val[28:])) * BufferStep
			}
		case tbfRate64:
			if a.need(8) {
				q.Rate = binary.NativeEndian.Uint64(a.val)
			}
		case tbfBurst:
			q.Burst = a.u32()
		}
	}
	return q, a.err
}

// TBF returns the token bucket filter that shapes the frames of the link with an index. The error
// for a missing link is [io/fs.ErrNotExist], and for a link without a filter [ErrNotTBF].
func (c *Conn) TBF(link int) (TBF, error) {
	c.enc.buf = c.enc.buf[:0]
	// Older kernels answer by an event, which reaches the asker only as an echo (qdisc_notify,
	// net/sched/sch_api.c). No kernel tells anything of disciplines that links have by themselves
	// (tc_qdisc_dump_ignore). Then the acknowledgement is the only answer, and its 20 bytes name no
	// kind. In all other cases it's skipped as a late one.
	c.enc.begin(unix.RTM_GETQDISC, unix.NLM_F_REQUEST|unix.NLM_F_ECHO|unix.NLM_F_ACK)
	tcHeader(&c.enc, link, 0, handleRoot, 0)
	q, found := TBF{}, false
	err := c.ask("get qdisc of link "+strconv.Itoa(link), func(data []byte) error {
		m, err := decodeTC(data)
		if err == nil && m.kind == "tbf" {
			found = true
			q, err = tbfOf(m)
		}
		return err
	})
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOENT) || err == nil && !found {
		err = ErrNotTBF
	}
	return q, err
}

func (q TBF) write(w *words) {
	w.word("tbf", "dev", w.link(q.Link))
	if q.Rate != 0 {
		w.word("rate", strconv.FormatUint(q.Rate, 10)+"B/s")
	}
	if q.Buffer != 0 {
		w.word("buffer", q.Buffer.String())
	}
	// An int of 32 bits holds neither.
	if q.Burst != 0 {
		w.word("burst", strconv.FormatUint(uint64(q.Burst), 10))
	}
	if q.Limit != 0 {
		w.word("limit", strconv.FormatUint(uint64(q.Limit), 10))
	}
}

func (q Ingress) write(w *words) { w.word("ingress", "dev", w.link(q.Link)) }
