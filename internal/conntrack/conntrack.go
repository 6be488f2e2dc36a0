// SPDX-License-Identifier: Apache-2.0

// Package conntrack makes the kernel forget connections that it tracks.
//
// A datagram of a tracked flow goes where the flow's first one went, whatever the ruleset says by
// now. A client that never pauses would keep talking to a container that is gone. [Conn.Forget]
// ends such flows. It speaks ctnetlink (linux/netfilter/nfnetlink_conntrack.h).
package conntrack

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/swiftcni/swiftcni/internal/nlsock"
)

// Messages and attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	msgGet    = 1 // IPCTNL_MSG_CT_GET
	msgDelete = 2 // IPCTNL_MSG_CT_DELETE

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaID         = 12
	ctaZone       = 18
	ctaFilter     = 25

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaFilterOrigFlags  = 1
	ctaFilterReplyFlags = 2

	// Bits of CTA_FILTER_ORIG_FLAGS and _REPLY_FLAGS (net/netfilter/nf_internals.h): the parts of a
	// tuple that count.
	filterIPSrc        = 1 << 0
	filterIPDst        = 1 << 1
	filterProtoNum     = 1 << 3
	filterProtoSrcPort = 1 << 4
	filterProtoDstPort = 1 << 5

	statusDestinationNAT = 1 << 5 // IPS_DST_NAT, linux/netfilter/nf_conntrack_common.h
)

// A Flow is a tracked connection.
type Flow struct {
	Src, Dst   netip.AddrPort // of the first packet, as it came
	ReplySrc   netip.AddrPort // the receiver, which answers: Dst unless it was translated
	Translated bool           // the destination was translated

	zone, id, tuple []byte // the values of the attributes that name it
}

// A Filter says which flows to look at.
type Filter struct {
	IPv6     bool
	Protocol uint8  // unix.IPPROTO_UDP, …
	DstPort  uint16 // of the first packet; 0 is any
}

// A Conn is a socket of one network namespace. One goroutine at a time may use it.
type Conn struct {
	socket   *nlsock.Socket
	sequence uint32
}

// Dial opens a Conn in the calling thread's network namespace.
func Dial() (*Conn, error) {
	s, err := nlsock.Open(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	return &Conn{socket: s}, nil
}

// Close closes the socket. It may wait for the removal of rules; see Close of nft.Conn.
func (c *Conn) Close() error { return c.socket.Close() }

// FD returns the socket's descriptor. The Conn still owns it.
func (c *Conn) FD() int { return c.socket.FD() }

// Clean reports whether nothing has failed at the socket, and nothing waits there.
func (c *Conn) Clean() bool { return c.socket.Clean() }

// Forget ends those flows of a filter that stale reports, and returns their number. The kernel
// walks its whole table once, locking each bucket. That takes 14 ms for the 262,144 buckets of a
// machine with much memory, however few flows there are. Since 5.8 the kernel filters. Older
// kernels list more, and this package sorts those out.
//
// An error is errors.ErrUnsupported if the kernel has no ctnetlink.
func (c *Conn) Forget(f Filter, stale func(Flow) bool) (int, error) {
	var found []Flow
	err := c.call(f.request(), func(b []byte) error {
		flow, protocol, err := decodeFlow(b)
		if err == nil && protocol == f.Protocol && flow.Dst.Addr().Is4() == !f.IPv6 && (f.DstPort == 0 || flow.Dst.Port() == f.DstPort) && stale(flow) {
			found = append(found, flow)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	n := 0
	for _, flow := range found {
		switch err := c.call(flow.deletion(f.IPv6), nil); {
		case err == nil:
			n++
		case !errors.Is(err, unix.ENOENT): // it may have ended by itself
			return n, err
		}
	}
	return n, nil
}

// request is the dump.
func (f Filter) request() netlink.Message {
	flags := uint32(filterProtoNum)
	proto := attribute(ctaProtoNum, []byte{f.Protocol})
	if f.DstPort != 0 {
		flags |= filterProtoDstPort
		proto = append(proto, attribute(ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, f.DstPort))...)
	}
	b := header(f.IPv6)
	b = append(b, nest(ctaTupleOrig, nest(ctaTupleProto, proto))...)
	b = append(b, nest(ctaFilter, append(attribute(ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, flags)),
		attribute(ctaFilterReplyFlags, make([]byte, 4))...))...)
	return message(msgGet, netlink.Dump, b)
}

// deletion names the flow by its tuple, zone and ID, so that a new one with the same tuple is left
// alone.
func (f Flow) deletion(ipv6 bool) netlink.Message {
	b := append(header(ipv6), nest(ctaTupleOrig, f.tuple)...)
	if f.zone != nil {
		b = append(b, attribute(ctaZone, f.zone)...)
	}
	if f.id != nil {
		b = append(b, attribute(ctaID, f.id)...)
	}
	return message(msgDelete, netlink.Acknowledge, b)
}

// A Match names IPv4 flows that are all to end. There is none for IPv6: of its addresses the
// kernel's filter takes all except the given one (ctnetlink_filter_match_tuple,
// net/netfilter/nf_conntrack_netlink.c, seen with 6.18). It compares ports of TCP and UDP alone. Of
// SCTP it would end the flows to all ports of an address.
type Match struct {
	Protocol uint8          // unix.IPPROTO_UDP or IPPROTO_TCP
	Dst      netip.AddrPort // of the first packet; the zero address is any
	ReplySrc netip.AddrPort // the sender of answers; the zero value is any
}

// errIPv6 is the error for a Match that isn't of IPv4.
var errIPv6 = errors.Join(errors.ErrUnsupported, unix.EAFNOSUPPORT)

// End ends all flows that match. The kernel looks for them itself, and skips empty buckets. That
// takes 0.1 ms, and Forget takes 14. It exists since Linux 6.10. An older kernel refuses it, since
// it wants whole tuples. The error is then errors.ErrUnsupported, as it is for IPv6, and for other
// protocols than TCP and UDP.
func (c *Conn) End(m Match) error {
	if m.Dst.Addr().Is6() || m.ReplySrc.Addr().Is6() {
		return errIPv6
	}
	if m.Protocol != unix.IPPROTO_UDP && m.Protocol != unix.IPPROTO_TCP {
		return errors.ErrUnsupported
	}
	return c.call(m.request(), nil)
}

func (m Match) request() netlink.Message {
	proto := func(kind int, port uint16) []byte {
		return nest(ctaTupleProto, append(attribute(ctaProtoNum, []byte{m.Protocol}), attribute(kind, binary.BigEndian.AppendUint16(nil, port))...))
	}
	b := header(false)
	b[1] = 1 // the family counts only from this version on
	orig, flags := proto(ctaProtoDstPort, m.Dst.Port()), uint32(filterProtoNum|filterProtoDstPort)
	if m.Dst.Addr().IsValid() {
		orig, flags = append(nest(ctaTupleIP, attribute(ctaIPv4Dst, m.Dst.Addr().AsSlice())), orig...), flags|filterIPDst
	}
	b = append(b, nest(ctaTupleOrig, orig)...)
	replyFlags := uint32(0)
	if m.ReplySrc.IsValid() {
		replyFlags = filterIPSrc | filterProtoNum | filterProtoSrcPort
		reply := append(nest(ctaTupleIP, attribute(ctaIPv4Src, m.ReplySrc.Addr().AsSlice())), proto(ctaProtoSrcPort, m.ReplySrc.Port())...)
		b = append(b, nest(ctaTupleReply, reply)...)
	}
	b = append(b, nest(ctaFilter, append(attribute(ctaFilterOrigFlags, binary.NativeEndian.AppendUint32(nil, flags)),
		attribute(ctaFilterReplyFlags, binary.NativeEndian.AppendUint32(nil, replyFlags))...))...)
	return message(msgDelete, netlink.Acknowledge, b)
}

func message(kind int, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | kind), Flags: netlink.Request | flags}, Data: data}
}

// header is struct nfgenmsg (linux/netfilter/nfnetlink.h).
func header(ipv6 bool) []byte {
	if ipv6 {
		return []byte{unix.AF_INET6, unix.NFNETLINK_V0, 0, 0}
	}
	return []byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}
}

func attribute(kind int, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofNlAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, uint16(kind)), value...)
	for len(b)%unix.NLA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func nest(kind int, value []byte) []byte { return attribute(kind|unix.NLA_F_NESTED, value) }

// call sends a request, gives each listed entry to each, and returns the error of the last message.
func (c *Conn) call(m netlink.Message, each func([]byte) error) error {
	c.sequence++
	m.Header.Sequence = c.sequence
	if err := c.socket.Send(m); err != nil {
		return err
	}
	var first error
	for {
		for m, err := range c.socket.ReceiveIter() {
			switch {
			case err != nil:
				return err
			case m.Header.Sequence != c.sequence: // of a call that was broken off
			case m.Header.Type == netlink.Done:
				return first
			case m.Header.Type == netlink.Error:
				return refusal(m.Data)
			case first == nil && each != nil:
				if len(m.Data) < 4 {
					return errMalformed
				}
				first = each(m.Data[4:])
			}
		}
	}
}

// refusal decodes struct nlmsgerr (linux/netlink.h). If nothing is registered for ctnetlink, the
// errno is EINVAL of nfnetlink itself, or EOPNOTSUPP, or EPROTONOSUPPORT.
func refusal(b []byte) error {
	if len(b) < 4 {
		return errMalformed
	}
	switch errno := syscall.Errno(-int32(binary.NativeEndian.Uint32(b))); errno {
	case 0:
		return nil
	case unix.EINVAL, unix.EOPNOTSUPP, unix.EPROTONOSUPPORT:
		return errors.Join(errors.ErrUnsupported, errno)
	default:
		return os.NewSyscallError("conntrack", errno)
	}
}
