// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// netNSANSID is the number that a namespace goes by in another (NETNSA_NSID,
// linux/net_namespace.h).
const netNSANSID = 1

// LinksEverywhere lists the links of this namespace, and of every other namespace that has a number
// here. The kernel numbers a namespace when a link of this one has its other end there or is moved
// there. It forgets the number when that namespace dies, and not before (peernet2id_alloc and
// cleanup_net, net/core/net_namespace.c). So a veth that was made here is listed for as long as it
// lives, by one end at least. The exception is a veth of which other namespaces moved both ends on.
//
// Nothing is yielded before the whole listing is known. Errors: [*Error] with EACCES for a
// namespace that the caller may not look into (Linux 4.15), [ErrInterrupted].
func (c *Conn) LinksEverywhere(f LinkFilter) iter.Seq2[LinkState, error] {
	return func(yield func(LinkState, error) bool) {
		all, err := c.linksEverywhere(f)
		if err != nil {
			yield(LinkState{}, err)
			return
		}
		for _, l := range all {
			if !yield(l, nil) {
				return
			}
		}
	}
}

func (c *Conn) linksEverywhere(f LinkFilter) ([]LinkState, error) {
	all, err := c.linksIn(nil, f)
	if err != nil {
		return nil, err
	}
	numbers, err := c.netNSNumbers()
	if err != nil {
		return nil, err
	}
	own := c.ownNumber(numbers)
	for _, n := range numbers {
		if n == own {
			continue
		}
		links, err := c.linksIn(&n, f)
		var e *Error
		if errors.As(err, &e) && e.Errno == unix.EINVAL {
			continue // it has died meanwhile, and its links with it
		}
		if err != nil {
			return nil, fmt.Errorf("namespace %d: %w", n, err)
		}
		all = append(all, links...)
	}
	return all, nil
}

// ownNumber is the one among numbers that this namespace has for itself, -1 for none. The socket
// knows its namespace (SIOCGSKNS, Linux 4.10). Whoever may not ask it sees the links of this one
// twice.
func (c *Conn) ownNumber(numbers []int32) int32 {
	if len(numbers) == 0 {
		return -1
	}
	fd, err := unix.IoctlRetInt(c.sock.FD(), unix.SIOCGSKNS)
	if err != nil {
		return -1
	}
	defer unix.Close(fd)
	number, err := c.askNumber(&NetNS{fd: fd})
	if err != nil {
		return -1
	}
	return number
}

// netNSNumbers lists the numbers that this namespace has for others.
func (c *Conn) netNSNumbers() ([]int32, error) {
	return dumpAll(c, "list namespaces", func() {
		c.beginDump(unix.RTM_GETNSID)
		c.enc.fixed(unix.AF_UNSPEC, 0, 0, 0) // struct rtgenmsg, padded
	}, func(b []byte, add func(int32)) error {
		if len(b) < 4 {
			return errShort
		}
		a := attrs{rest: b[4:]}
		for a.next() {
			if a.typ == netNSANSID {
				add(int32(a.u32()))
			}
		}
		return a.err
	})
}
