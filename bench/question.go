// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// question is an ICMP echo request to an address. It's numbered, and repeated until an answer
// comes.
type question struct {
	target   netip.Addr
	fd       int
	id       uint16
	asked    float64 // when it was asked first, in microseconds of CLOCK_MONOTONIC
	answered float64 // when the first answer came; 0: not yet
	answer   uint16  // the number of the request that was answered
}

// newQuestion opens a socket in a namespace, ready to ask. The thread ends up there.
func (m *measurer) newQuestion(netns int, target netip.Addr) (*question, error) {
	if err := enter(netns); err != nil {
		return nil, err
	}
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if target.Is6() {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, err
	}
	m.questions++
	return &question{target: target, fd: fd, id: m.questions}, nil
}

// Nothing was written that could be lost.
func (q *question) close() { _ = unix.Close(q.fd) }

func (q *question) send(number uint16) {
	var to unix.Sockaddr = &unix.SockaddrInet6{Addr: q.target.As16()}
	if q.target.Is4() {
		to = &unix.SockaddrInet4{Addr: q.target.As4()}
	}
	if q.asked == 0 {
		q.asked = micros()
	}
	// A request that can't be sent isn't answered. Errors of later calls say that a neighbour can't
	// be found.
	_ = unix.Sendto(q.fd, echoRequest(q.target.Is6(), q.id, number), 0, to)
}

// receive reads the packets that have come, and notes the answer.
func (q *question) receive() {
	packet := make([]byte, 1500)
	for q.answered == 0 {
		n, from, err := unix.Recvfrom(q.fd, packet, 0)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err == nil && isFrom(from, q.target) && isReply(packet[:n], q.target.Is6(), q.id) {
			q.answered, q.answer = micros(), number(packet[:n], q.target.Is6())
		}
	}
}

// askAll asks all questions at once. It repeats those without an answer after each interval, while
// patience lasts.
func askAll(interval, patience time.Duration, questions ...*question) {
	open := slices.Clone(questions)
	start := time.Now()
	for n := 1; len(open) > 0 && time.Since(start) < patience; n++ {
		for _, q := range open {
			q.send(uint16(n))
		}
		for len(open) > 0 && await(open, time.Until(start.Add(time.Duration(n)*interval))) {
			for _, q := range open {
				q.receive()
			}
			open = slices.DeleteFunc(open, func(q *question) bool { return q.answered > 0 })
		}
	}
}

// await waits until one of the sockets has something, or returns false once the time is over.
func await(list []*question, left time.Duration) bool {
	if left <= 0 {
		return false
	}
	var polled []unix.PollFd
	for _, q := range list {
		polled = append(polled, unix.PollFd{Fd: int32(q.fd), Events: unix.POLLIN})
	}
	timeout := unix.NsecToTimespec(left.Nanoseconds())
	n, err := unix.Ppoll(polled, &timeout, nil)
	return n > 0 || errors.Is(err, unix.EINTR)
}

// ask asks each millisecond until a reply comes.
func (m *measurer) ask(netns int, target netip.Addr, patience time.Duration) error {
	q, err := m.newQuestion(netns, target)
	if err != nil {
		return err
	}
	defer q.close()
	askAll(time.Millisecond, patience, q)
	if q.answered == 0 {
		return errors.New("no reply within " + patience.String())
	}
	return nil
}

// echoRequest is an ICMP (RFC 792) or ICMPv6 (RFC 4443) echo request. The kernel fills in the
// latter's checksum.
func echoRequest(six bool, id, number uint16) []byte {
	request := []byte{8, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(request[4:], id)
	binary.BigEndian.PutUint16(request[6:], number)
	if six {
		request[0] = 128
		return request
	}
	// The one's complement of the one's complement sum of three words.
	sum := uint32(8)<<8 + uint32(id) + uint32(number)
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(request[2:], ^uint16(sum+sum>>16))
	return request
}

// icmp is the part after the header of IPv4. With IPv6 a raw socket has no header.
func icmp(packet []byte, six bool) []byte {
	if six || len(packet) == 0 {
		return packet
	}
	return packet[min(len(packet), int(packet[0]&15)*4):]
}

func isReply(packet []byte, six bool, id uint16) bool {
	reply := icmp(packet, six)
	if len(reply) < 8 || binary.BigEndian.Uint16(reply[4:]) != id {
		return false
	}
	return six && reply[0] == 129 || !six && reply[0] == 0
}

func number(packet []byte, six bool) uint16 { return binary.BigEndian.Uint16(icmp(packet, six)[6:]) }

func isFrom(from unix.Sockaddr, target netip.Addr) bool {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr) == target
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr) == target
	}
	return false
}
