// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Sender is one owner's container as the source of traffic: its masqueraded addresses, and the
// MAC that it may send from. The owner's ports and its way through the firewall are a [Publication]
// and an [Allowance].
type Sender struct {
	Owner Owner

	// Masquerade lists the container's addresses whose traffic is masqueraded when it leaves the
	// address's own subnet, each with its subnet's length: 10.1.0.2/24. Multicast (224.0.0.0/4,
	// ff00::/8) isn't masqueraded.
	Masquerade []netip.Prefix

	// Outbound are the addresses that this traffic gets by IPv4 and by IPv6. The zero Addr leaves it
	// to the link that the traffic leaves by.
	Outbound [2]netip.Addr

	// Guard, if there is one, drops frames that enter the bridge from the container with another
	// MAC than its own.
	Guard *Guard
}

// A Guard binds a bridge's port to one source MAC. It sees frames that arrive at the port, before
// the bridge learns from them or forwards them.
type Guard struct {
	// HostLink is the host end's name, at most 15 bytes.
	HostLink string
	// MAC is the container's, 6 bytes.
	MAC net.HardwareAddr
}

// An element is one entry of a set.
type element struct {
	set     set
	key     []byte
	data    []byte // a map's value
	comment string
}

// owner returns the part of the comment that names the owner.
func (e *element) owner() string {
	owner, _, _ := strings.Cut(e.comment, " ")
	return owner
}

// guard decodes an element of the set of guarded links.
func (e *element) guard() (Guard, bool) {
	_, text, _ := strings.Cut(e.comment, " ")
	mac, err := net.ParseMAC(text)
	link, _, _ := bytes.Cut(e.key, []byte{0})
	return Guard{string(link), mac}, err == nil && len(mac) == macLen && len(link) > 0
}

// prefix decodes an element of a set of masqueraded addresses: the address, with its subnet's
// length.
func (e *element) prefix() (netip.Prefix, bool) {
	addr, ok := netip.AddrFromSlice(e.key)
	if p, old := oldSubnet(e.set.name); old {
		return netip.PrefixFrom(addr, p.Bits()), ok && p.Contains(addr)
	}
	if !ok || e.set != familyOf(addr).masqueraded() {
		return netip.Prefix{}, false
	}
	_, text, _ := strings.Cut(e.comment, " /")
	text, _, _ = strings.Cut(text, outboundMark)
	bits, err := strconv.Atoi(text)
	return netip.PrefixFrom(addr, bits), err == nil && bits > 0 && bits <= addr.BitLen()
}

const macLen = 6

// outboundMark ends the comment of a masqueraded address whose traffic gets an address of its own.
const outboundMark = " outbound"

// elements returns the attachment's elements: those to look for, and those that follow from them.
func (a Sender) elements() []element {
	es := a.heads()
	for _, e := range es {
		es = e.followers(es)
	}
	for f, o := range a.Outbound {
		for i := range es {
			if e := &es[i]; o.IsValid() && e.set.key == [...]keyKind{route4, route6}[f] {
				e.data = o.AsSlice()
			}
		}
	}
	return es
}

// heads returns the elements whose comments say all of the attachment.
func (a Sender) heads() []element {
	comment := a.Owner.comment()
	es := make([]element, 0, 2*len(a.Masquerade)+2)
	for _, p := range a.Masquerade {
		e := masqueradeElement(p, comment)
		if a.Outbound[pick(familyOf(p.Addr()), 0, 1)].IsValid() {
			e.comment += outboundMark
		}
		es = append(es, e)
	}
	if g := a.Guard; g != nil {
		es = append(es, element{set: guarded, key: linkKey(g.HostLink), comment: comment + " " + g.MAC.String()})
	}
	return es
}

func masqueradeElement(p netip.Prefix, owner string) element {
	return element{set: familyOf(p.Addr()).masqueraded(), key: p.Addr().AsSlice(), comment: owner + " /" + strconv.Itoa(p.Bits())}
}

// followers adds the elements that an attachment has besides this one: an address with its subnet,
// and with the address that its traffic gets, but without the latter; a link with its MAC.
func (e *element) followers(es []element) []element {
	if g, ok := e.guard(); ok && e.set == guarded {
		return e.follow(es, allowed, allowedKey(g))
	}
	p, ok := e.prefix()
	if f := familyOf(p.Addr()); ok && e.set == f.masqueraded() {
		if !p.IsSingleIP() {
			es = e.follow(es, f.own(p.Bits()), pairKey(p))
		}
		if strings.HasSuffix(e.comment, outboundMark) {
			es = e.follow(es, f.outbound(), e.key)
		}
	}
	return es
}

// follow adds an element of the same owner.
func (e *element) follow(es []element, s set, key []byte) []element {
	return append(es, element{set: s, key: key, comment: e.owner()})
}

func linkKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}

// allowedKey joins link and MAC as the kernel does in registers of 4 bytes: the MAC takes 8.
func allowedKey(g Guard) []byte {
	key := make([]byte, unix.IFNAMSIZ+8)
	copy(key, g.HostLink)
	copy(key[unix.IFNAMSIZ:], g.MAC)
	return key
}

// check refuses anything that can't be an attachment. A hint for Detach may lack the guard's MAC.
func (a Sender) check(hint bool) error {
	if err := a.Owner.check(); err != nil {
		return err
	}
	for _, p := range a.Masquerade {
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return fmt.Errorf("nft: %s: masquerade %s: not an address with its subnet's length", a.Owner, p)
		}
	}
	for i, o := range a.Outbound {
		if o.IsValid() && o.Is4() != (i == 0) {
			return fmt.Errorf("nft: %s: outbound %s: of the wrong family", a.Owner, o)
		}
	}
	g := a.Guard
	if g == nil {
		return nil
	}
	if g.HostLink == "" || len(g.HostLink) >= unix.IFNAMSIZ {
		return fmt.Errorf("nft: %s: guard of link %q: a link's name has 1 to %d bytes", a.Owner, g.HostLink, unix.IFNAMSIZ-1)
	}
	if len(g.MAC) != macLen && !(hint && len(g.MAC) == 0) {
		return fmt.Errorf("nft: %s: guard of link %q: MAC %q hasn't 6 bytes", a.Owner, g.HostLink, g.MAC)
	}
	return nil
}
