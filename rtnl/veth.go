// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// vethInfoPeer is VETH_INFO_PEER (linux/veth.h).
const vethInfoPeer = 1

// A Veth is a pair of links: frames that are sent into one end come out of the other. Create makes
// both in one message, the peer in Peer.NetNS under its final name. So nothing is moved or renamed.
//
// The first end can be born up and with a master. The peer can be neither: it can't go up while its
// own peer doesn't exist yet (ENOTCONN), and the kernel ignores its Master, which is refused here.
// It goes up in a change of its own.
//
// Indexes may be chosen. The kernel honours the peer's only if the first end's is chosen too. Any
// other choice is refused here. The two must differ even across namespaces, and equal ones are
// refused here too. If a link's index equals its peer's, the kernel thinks that it has no peer
// (dev_get_iflink). It may then take its coming up for something that can wait a second
// (linkwatch_urgent_event, net/core/link_watch.c).
//
// Setting a Veth sets its first end alone. Deleting it deletes the first end, and with it the peer.
type Veth struct {
	Link
	Peer Link
}

// errVeth is a request for a veth that no batch makes.
var errVeth = errors.New("rtnl: veth without a peer")

func (p Veth) encode(b *Batch, v verb) {
	if v != create && v != ensure {
		p.Link.encode(b, v)
		return
	}
	p.Link.begin(b, v)
	switch {
	case p.Peer.Index != 0 && p.Index == 0:
		b.fail(syscall.EINVAL, "the kernel ignores a peer's index unless the link's own is chosen too")
	case p.Index != 0 && p.Peer.Index == p.Index:
		b.fail(syscall.EINVAL, "both ends of a veth have the same index")
	case p.Peer.Master != 0:
		b.fail(syscall.EINVAL, "a veth's peer gets no master while it's made")
	}
	e := &b.enc
	info := e.nest(unix.IFLA_LINKINFO)
	e.str(unix.IFLA_INFO_KIND, "veth")
	data := e.nest(unix.IFLA_INFO_DATA)
	peer := e.plainNest(vethInfoPeer)
	p.Peer.header(b, unix.AF_UNSPEC)
	p.Peer.attributes(b, v)
	e.endNest(peer)
	e.endNest(data)
	e.endNest(info)
	b.end()
}

func decodeVeth(l Link, data []byte) (Object, error) {
	a := attrs{rest: data}
	for a.next() {
		if a.typ == vethInfoPeer {
			var peer linkMessage
			err := peer.decode(a.val)
			return Veth{Link: l, Peer: peer.Link}, err
		}
	}
	if a.err != nil {
		return nil, a.err
	}
	return nil, errVeth
}

func (p Veth) write(w *words) {
	w.word("veth")
	p.Link.writeRest(w)
	w.word("peer")
	p.Peer.writeRest(w)
}
