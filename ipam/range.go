// SPDX-License-Identifier: Apache-2.0

package ipam

import (
	"net/netip"
	"strconv"
	"strings"
)

// Range is a run of addresses of one subnet. A zero Start is the address after the subnet's first.
// A zero End is the last address, or for IPv4 the one before the broadcast address. A zero Gateway
// is the address after the subnet's first. The gateway is never given to a container, and needn't
// lie in the subnet.
type Range struct {
	Subnet              netip.Prefix
	Start, End, Gateway netip.Addr
}

// RangeSet is one or more ranges that together serve one address for each container.
type RangeSet []Range

// RangeError says why a range or a list of range sets can't be used, in host-local's words.
type RangeError struct{ Reason string }

func (e *RangeError) Error() string { return e.Reason }

func rangeError(reason string) error { return &RangeError{reason} }

// OverlapError names two range sets that share an address, by their indexes.
type OverlapError struct{ A, B int }

func (e *OverlapError) Error() string {
	return "range set " + strconv.Itoa(e.A) + " overlaps with " + strconv.Itoa(e.B)
}

// Canonical returns r with its defaults filled in and IPv4-mapped addresses as IPv4, or a
// [*RangeError]. The network and broadcast addresses are allowed as Start and End, for ranges that
// name them.
func (r Range) Canonical() (Range, error) {
	subnet, err := canonicalSubnet(r.Subnet)
	if err != nil {
		return Range{}, err
	}
	c := Range{Subnet: subnet, Start: plain(r.Start), End: plain(r.End), Gateway: plain(r.Gateway)}
	first := subnet.Addr().Next()
	if !c.Gateway.IsValid() {
		c.Gateway = first
	}
	outside := func(key string, addr netip.Addr) error {
		return rangeError(key + " " + addr.String() + " not in network " + subnet.String())
	}
	if c.Start.IsValid() {
		after := c.End.IsValid() && c.End.Is4() == c.Start.Is4() && c.Start.Compare(c.End) > 0
		if !subnet.Contains(c.Start) || after {
			return Range{}, outside("RangeStart", c.Start)
		}
	} else {
		c.Start = first
	}
	if c.End.IsValid() {
		if !subnet.Contains(c.End) || c.End.Compare(c.Start) < 0 {
			return Range{}, outside("RangeEnd", c.End)
		}
		return c, nil
	}
	c.End = lastOf(subnet)
	if c.Start.Compare(c.End) > 0 { // only if the start is the broadcast address
		return Range{}, rangeError("RangeStart " + c.Start.String() + " is after RangeEnd " + c.End.String() + " in network " + subnet.String())
	}
	return c, nil
}

func canonicalSubnet(p netip.Prefix) (netip.Prefix, error) {
	if !p.IsValid() {
		return p, rangeError("IP <nil> not v4 nor v6")
	}
	addr, bits := p.Addr(), p.Bits()
	shown := p
	if addr.Is4In6() && bits >= 96 {
		shown = netip.PrefixFrom(addr.Unmap(), bits-96)
	}
	if bits > addr.BitLen()-2 {
		return p, rangeError("Network " + shown.String() + " too small to allocate from")
	}
	if addr.Is4In6() {
		return p, rangeError("IPNet IP and Mask version mismatch")
	}
	if network := p.Masked().Addr(); addr != network {
		return p, rangeError("Network has host bits set. For a subnet mask of length " + strconv.Itoa(bits) +
			" the network address is " + network.String())
	}
	return p, nil
}

// plain is the form in which addresses are compared and name files: no IPv4 inside IPv6, no zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// lastOf is the last address that a subnet gives by default.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		switch host := p.Bits() - 8*i; {
		case host <= 0:
			b[i] = 0xff
		case host < 8:
			b[i] |= 0xff >> host
		}
	}
	last, _ := netip.AddrFromSlice(b)
	if last.Is4() {
		return last.Prev()
	}
	return last
}

func (r Range) contains(a netip.Addr) bool {
	return a.Is4() == r.Start.Is4() && r.Start.Compare(a) <= 0 && a.Compare(r.End) <= 0
}

func (r Range) overlaps(o Range) bool {
	return r.Start.Is4() == o.Start.Is4() && r.Start.Compare(o.End) <= 0 && o.Start.Compare(r.End) <= 0
}

// String is the range's bounds, "10.1.0.1-10.1.3.254".
func (r Range) String() string { return r.Start.String() + "-" + r.End.String() }

// Canonical returns s with each range made canonical, or a [*RangeError].
func (s RangeSet) Canonical() (RangeSet, error) {
	if len(s) == 0 {
		return nil, rangeError("empty range set")
	}
	c := make(RangeSet, len(s))
	for i, r := range s {
		var err error
		if c[i], err = r.Canonical(); err != nil {
			return nil, err
		}
		if c[i].Start.Is4() != c[0].Start.Is4() {
			return nil, rangeError("mixed address families")
		}
	}
	for i, a := range c {
		for _, b := range c[i+1:] {
			if a.overlaps(b) {
				return nil, rangeError("subnets " + a.String() + " and " + b.String() + " overlap")
			}
		}
	}
	return c, nil
}

// Contains reports whether a lies in one of the set's ranges.
func (s RangeSet) Contains(a netip.Addr) bool { return s.find(plain(a)) >= 0 }

// find returns the index of the range that a lies in, or -1.
func (s RangeSet) find(a netip.Addr) int {
	for i := range s {
		if s[i].contains(a) {
			return i
		}
	}
	return -1
}

// String is the set's ranges, joined by commas.
func (s RangeSet) String() string {
	var b strings.Builder
	for i, r := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(r.String())
	}
	return b.String()
}

// CanonicalSets returns the range sets of a configuration in canonical form. The error is a
// [*RangeError], or an [*OverlapError] if each set is right by itself. A caller with more to say
// about sets says it before.
func CanonicalSets(sets []RangeSet) ([]RangeSet, error) {
	if len(sets) == 0 {
		return nil, rangeError("no IP ranges specified")
	}
	c := make([]RangeSet, len(sets))
	for i, s := range sets {
		var err error
		if c[i], err = s.Canonical(); err != nil {
			return nil, rangeError("invalid range set " + strconv.Itoa(i) + ": " + err.Error())
		}
	}
	for i := range c {
		for j := i + 1; j < len(c); j++ {
			if c[i].overlapsSet(c[j]) {
				return nil, &OverlapError{A: i, B: j}
			}
		}
	}
	return c, nil
}

func (s RangeSet) overlapsSet(o RangeSet) bool {
	for _, a := range s {
		for _, b := range o {
			if a.overlaps(b) {
				return true
			}
		}
	}
	return false
}
