// SPDX-License-Identifier: Apache-2.0

package ipam

import "net/netip"

// walk goes round a range set once, in host-local's order: from the address after the last reserved
// one to its range's end, through the following ranges, and from the first range to the last
// reserved address itself. Without a last reserved address it begins at the first range's start. A
// range's own gateway is skipped.
type walk struct {
	set   RangeSet
	spans []span // still to be tried; every span holds an address
}

type span struct {
	from, to netip.Addr
	rng      int
}

func newWalk(set RangeSet, last netip.Addr) walk {
	w := walk{set: set, spans: make([]span, 0, len(set)+1)}
	at := -1
	if last.IsValid() {
		at = set.find(last)
	}
	if at < 0 {
		for i, r := range set {
			w.spans = append(w.spans, span{r.Start, r.End, i})
		}
		return w
	}
	if last != set[at].End {
		w.spans = append(w.spans, span{last.Next(), set[at].End, at})
	}
	for n := 1; n < len(set); n++ {
		i := (at + n) % len(set)
		w.spans = append(w.spans, span{set[i].Start, set[i].End, i})
	}
	w.spans = append(w.spans, span{set[at].Start, last, at})
	return w
}

// next returns the next address to try and its range's index.
func (w *walk) next() (netip.Addr, int, bool) {
	for len(w.spans) > 0 {
		addr, rng := w.spans[0].from, w.spans[0].rng
		w.advance(addr)
		if addr != w.set[rng].Gateway {
			return addr, rng, true
		}
	}
	return netip.Addr{}, 0, false
}

// advance moves the first span's beginning behind addr.
func (w *walk) advance(addr netip.Addr) {
	if addr == w.spans[0].to {
		w.spans = w.spans[1:]
		return
	}
	w.spans[0].from = addr.Next()
}
