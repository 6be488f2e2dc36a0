// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// NotUpError is a link that can't carry frames when the bound on waiting for it is reached. It is
// [os.ErrDeadlineExceeded].
type NotUpError struct {
	Link    int       // its index
	State   OperState // the last that was seen
	Timeout time.Duration
}

func (e *NotUpError) Error() string {
	return fmt.Sprintf("link %d isn't operational after %v: its state is %s", e.Link, e.Timeout, e.State)
}

// Unwrap returns [os.ErrDeadlineExceeded].
func (e *NotUpError) Unwrap() error { return os.ErrDeadlineExceeded }

// WaitUp waits until a link is [OperUp]. A veth's ends have a carrier once both are up. But the end
// that went up first gets its queue, and forwards as a port, only when the kernel's linkwatch has
// run (net/core/link_watch.c). That usually happens at once, and sometimes a second later. From
// Linux 6.8 on, a question about the link makes linkwatch run, so one question is enough. Older
// kernels are waited for by event (RTNLGRP_LINK). The error for a missing link is
// [io/fs.ErrNotExist], and for the end of the timeout a [*NotUpError].
func (c *Conn) WaitUp(link int, timeout time.Duration) error {
	if c.hasCarrier(link) {
		return nil
	}
	l, err := c.LinkByIndex(link)
	if err != nil || l.OperState == OperUp {
		return err
	}
	state := l.OperState
	err = c.await(wait{
		group: unix.RTNLGRP_LINK,
		look: func() error {
			l, err := c.LinkByIndex(link)
			if state != OperUp {
				state = l.OperState
			}
			return err
		},
		event: func(m netlink.Message) {
			if m.Header.Type != unix.RTM_NEWLINK {
				return
			}
			if l, err := decodeLink(m.Data); err == nil && l.Index == link {
				state = l.OperState
			}
		},
		done: func() bool { return state == OperUp },
	}, timeout)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &NotUpError{Link: link, State: state, Timeout: timeout}
	case err != nil:
		return fmt.Errorf("rtnl: wait for link: %w", err)
	}
	return nil
}

// hasCarrier asks as ethtool does, at a tenth of the cost of a message about a link. False is no
// answer. Nor is any answer of an older kernel, which reports a carrier before linkwatch has run.
func (c *Conn) hasCarrier(link int) bool {
	var uts unix.Utsname
	if unix.Uname(&uts) != nil || !atLeast(uts.Release[:], 6, 8) {
		return false
	}
	name, err := c.Name(link)
	if err != nil {
		return false
	}
	value := ethtoolValue{cmd: unix.ETHTOOL_GLINK}
	r := ifreqPointer{value: &value}
	copy(r.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.sock.FD()), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	return errno == 0 && value.data != 0
}

// ethtoolValue is struct ethtool_value (linux/ethtool.h).
type ethtoolValue struct{ cmd, data uint32 }

// ifreqPointer is struct ifreq (linux/if.h) with ifr_data.
type ifreqPointer struct {
	name  [unix.IFNAMSIZ]byte
	value *ethtoolValue
	_     [16]byte
}

// atLeast compares a kernel's release, such as 6.12.95-amd64, by its first two numbers.
func atLeast(release []byte, major, minor int) bool {
	var version [2]int
	part := 0
	for _, c := range release {
		switch {
		case '0' <= c && c <= '9':
			version[part] = version[part]*10 + int(c-'0')
			continue
		case c == '.' && part == 0:
			part = 1
			continue
		}
		break
	}
	return version[0] > major || version[0] == major && version[1] >= minor
}
