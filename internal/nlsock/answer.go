// SPDX-License-Identifier: Apache-2.0

package nlsock

import (
	"bytes"
	"encoding/binary"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Answer returns the content of an NLMSG_ERROR, or of a list's NLMSG_DONE: 0 is an acknowledgement.
// The kernel's text follows the quoted request, whose payload is left out if NLM_F_CAPPED is set
// (linux/netlink.h). Any other message is EBADMSG.
func Answer(m netlink.Message) (errno syscall.Errno, reason string) {
	if m.Header.Type == netlink.Done && len(m.Data) < 4 {
		return 0, ""
	}
	if m.Header.Type != netlink.Error && m.Header.Type != netlink.Done || len(m.Data) < 4 {
		return unix.EBADMSG, ""
	}
	errno = syscall.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
	b := m.Data[4:]
	if m.Header.Flags&netlink.AcknowledgeTLVs == 0 || m.Header.Type == netlink.Done {
		return errno, ""
	}
	n := headerLen
	if m.Header.Flags&netlink.Capped == 0 && len(b) >= 4 {
		n = aligned(int(min(binary.NativeEndian.Uint32(b), uint32(len(b)))))
	}
	if n > len(b) {
		return errno, ""
	}
	return errno, text(b[n:])
}

// text finds the kernel's words among the attributes behind a refusal (NLMSGERR_ATTR_MSG).
func text(b []byte) string {
	for len(b) >= unix.SizeofNlAttr {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofNlAttr || n > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == unix.NLMSGERR_ATTR_MSG {
			s, _, _ := bytes.Cut(b[unix.SizeofNlAttr:n], []byte{0})
			return string(s)
		}
		b = b[min(aligned(n), len(b)):]
	}
	return ""
}

// aligned rounds up to NLMSG_ALIGNTO, which is NLA_ALIGNTO too.
func aligned(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }
