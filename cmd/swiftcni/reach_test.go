// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// reach sends one echo request as the host or a container and waits so many seconds for the reply.
func (w *world) reach(name string, to netip.Addr, seconds int64) error {
	return w.do(name, func() error { return echo(to, seconds) })
}

func echo(to netip.Addr, seconds int64) error {
	family, protocol, request, reply := unix.AF_INET, unix.IPPROTO_ICMP, byte(8), byte(0)
	var dst unix.Sockaddr
	if to.Is4() {
		dst = &unix.SockaddrInet4{Addr: to.As4()}
	} else {
		family, protocol, request, reply = unix.AF_INET6, unix.IPPROTO_ICMPV6, 128, 129
		dst = &unix.SockaddrInet6{Addr: to.As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(seconds * 1e9)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	message := []byte{request, 0, 0, 0, 0x53, 0x57, 0, 1}
	if to.Is4() { // of ICMPv6 the kernel fills the checksum in
		sum := ^(uint16(request)<<8 + 0x5357 + 1)
		message[2], message[3] = byte(sum>>8), byte(sum)
	}
	if err := unix.Sendto(fd, message, 0, dst); err != nil {
		return fmt.Errorf("echo request to %s: %w", to, err)
	}
	buf := make([]byte, 256)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("echo reply from %s: %w", to, err)
		}
		got := buf[:n]
		if to.Is4() {
			got = got[int(got[0]&15)*4:]
		}
		if len(got) >= 8 && got[0] == reply && got[4] == 0x53 && got[5] == 0x57 {
			return nil
		}
	}
}
