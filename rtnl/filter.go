// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// Attributes of filters and actions (linux/pkt_cls.h, linux/tc_act/tc_mirred.h).
const (
	u32Sel       = 5 // TCA_U32_SEL
	u32Act       = 7 // TCA_U32_ACT
	actFirst     = 1 // place of the only action
	actKind      = 1 // TCA_ACT_KIND
	actOptions   = 2 // TCA_ACT_OPTIONS
	mirredParms  = 2 // TCA_MIRRED_PARMS
	sizeofMirred = 28
	sizeofU32Sel = 32 // struct tc_u32_sel and one key
	u32Terminal  = 1  // TC_U32_TERMINAL
	actStolen    = 4  // TC_ACT_STOLEN: the packet goes no further here
	egressRedir  = 1  // TCA_EGRESS_REDIR
)

// redirectInfo is the filter's place and protocol: priority 1, of all protocols (TC_H_MAKE(1<<16,
// htons(ETH_P_ALL))).
func redirectInfo() uint32 {
	return 1<<16 | uint32(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
}

// A Redirect sends everything that a link receives out of another link. The other link may be an
// ifb, whose queueing discipline shapes the frames before they are received after all. The link
// needs an [Ingress] first.
//
// It's a u32 filter that matches everything, at priority 1, with a mirred action. Both are older
// than their possible replacements. It can only be created and deleted. Deletion takes all filters
// of that priority.
type Redirect struct {
	// Link is the index of the link that receives.
	Link int
	// To is the index of the link that sends.
	To int
}

func (f Redirect) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWTFILTER)
	switch v {
	case create:
	case remove:
		typ = unix.RTM_DELTFILTER
	default:
		b.unsupported(v, "redirect")
		return
	}
	b.begin(typ, v.flags())
	tcHeader(&b.enc, f.Link, 0, handleIngressOwn, redirectInfo())
	b.enc.str(unix.TCA_KIND, "u32")
	if v != remove {
		f.options(&b.enc)
	}
	b.end()
}

func (f *Redirect) options(e *encoder) {
	options := e.plainNest(unix.TCA_OPTIONS)
	// struct tc_u32_sel: flags, offshift, nkeys, and then one struct tc_u32_key, whose mask of 0
	// matches everything.
	var sel [sizeofU32Sel]byte
	sel[0], sel[2] = u32Terminal, 1
	e.bytes(u32Sel, sel[:])
	actions := e.plainNest(u32Act)
	action := e.plainNest(actFirst)
	e.str(actKind, "mirred")
	params := e.plainNest(actOptions)
	// struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
	e.attr(mirredParms, sizeofMirred)
	for _, v := range [...]uint32{0, 0, actStolen, 0, 0, egressRedir, uint32(f.To)} {
		e.fixed32(v)
	}
	e.endNest(params)
	e.endNest(action)
	e.endNest(actions)
	e.endNest(options)
}

// Redirects lists the redirections of frames that a link receives. Without an [Ingress] there are
// none. Errors: [*Error], [ErrInterrupted].
func (c *Conn) Redirects(link int) iter.Seq2[Redirect, error] {
	return dump(c, "list filters", func() {
		c.beginDump(unix.RTM_GETTFILTER)
		tcHeader(&c.enc, link, 0, handleIngressOwn, 0)
	}, func(b []byte, add func(Redirect)) error {
		m, err := decodeTC(b)
		if err != nil || m.kind != "u32" {
			return err
		}
		f, err := decodeFilterChange(b)
		// Anything else is one of u32's tables, or another action.
		if r, ok := f.(Redirect); ok && r.To != 0 {
			add(r)
		}
		return err
	})
}

// decodeFilterChange decodes a batch's message about a filter.
func decodeFilterChange(b []byte) (Object, error) {
	m, err := decodeTC(b)
	if err != nil {
		return nil, err
	}
	f := Redirect{Link: m.link}
	if m.kind != "u32" {
		return nil, errShort
	}
	// find walks down to the mirred's parameters.
	find := func(b []byte, typ int) []byte {
		a := attrs{rest: b}
		for a.next() {
			if a.typ == typ {
				return a.val
			}
		}
		if a.err != nil {
			err = a.err
		}
		return nil
	}
	mirred := m.options
	for _, typ := range [...]int{u32Act, actFirst, actOptions, mirredParms} {
		mirred = find(mirred, typ)
	}
	if mirred != nil {
		if len(mirred) < sizeofMirred {
			return nil, errShort
		}
		f.To = int(int32(binary.NativeEndian.Uint32(mirred[24:])))
	}
	return f, err
}

func (f Redirect) write(w *words) {
	w.word("redirect", "dev", w.link(f.Link))
	if f.To != 0 {
		w.word("to", w.link(f.To))
	}
}
