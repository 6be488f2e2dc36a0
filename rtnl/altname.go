// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxAltName is the longest alternative name in bytes (ALTIFNAMSIZ less its zero, linux/if.h).
const maxAltName = 127

// An AltName is one more name of a link (Linux 5.5), by which look-ups find it. No other link of the
// namespace can have it as its name or alternative name. It can be created and deleted. Deleting one
// that's missing is refused as [io/fs.ErrNotExist].
type AltName struct {
	// Link is the link's index.
	Link int
	// Name has at most 127 bytes.
	Name string
}

func (n AltName) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWLINKPROP)
	switch v {
	case create:
	case remove:
		typ = unix.RTM_DELLINKPROP
	default:
		b.unsupported(v, "altname")
		return
	}
	b.begin(typ, v.flags())
	switch {
	case len(n.Name) > maxAltName:
		b.fail(syscall.ENAMETOOLONG, "an alternative name has at most 127 bytes")
	case n.Name == "" || strings.IndexByte(n.Name, 0) >= 0:
		b.fail(syscall.EINVAL, "an alternative name isn't empty and holds no zero byte")
	}
	id := Link{Index: n.Link}
	id.header(b, unix.AF_UNSPEC)
	list := b.enc.nest(unix.IFLA_PROP_LIST)
	b.enc.str(unix.IFLA_ALT_IFNAME, n.Name)
	b.enc.endNest(list)
	b.end()
}

// decodeAltName decodes a batch's message about an alternative name.
func decodeAltName(b []byte) (Object, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, errShort
	}
	n := AltName{Link: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	a := attrs{rest: b[unix.SizeofIfInfomsg:]}
	for a.next() {
		if a.typ != unix.IFLA_PROP_LIST {
			continue
		}
		names := a.nested()
		for names.next() {
			if names.typ == unix.IFLA_ALT_IFNAME {
				n.Name = names.str()
			}
		}
		a.took(&names)
	}
	return n, a.err
}

func (n AltName) write(w *words) {
	w.word("altname", n.Name, "dev", w.link(n.Link))
}
