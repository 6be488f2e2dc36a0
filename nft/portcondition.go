// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A ConditionField is the property that a [Condition] looks at.
type ConditionField int

const (
	Source      ConditionField = iota // the packet's source address
	Destination                       // the host's address that it's for
	// the link that the packet came in by; none for packets that the host itself sends
	InLink
	// the link that the packet leaves by; none for packets that came in by a link
	OutLink
	SourceType // the type of the source address in the host's routes
	// the type of the destination in them; mappings are for destinations that are local
	DestinationType
)

// addressTypes are the types of addresses (RTN_*, linux/rtnetlink.h), as the nft program calls
// them.
var addressTypes = [...]string{unix.RTN_UNSPEC: "unspec", unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local",
	unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast", unix.RTN_MULTICAST: "multicast", unix.RTN_BLACKHOLE: "blackhole",
	unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit"}

// AddressTypes lists what [Condition.Type] can be.
func AddressTypes() []string { return addressTypes[:] }

// A Condition narrows port mappings to some packets.
type Condition struct {
	Field  ConditionField
	Not    bool         // matches all other packets
	Prefix netip.Prefix // of Source and Destination
	Link   string       // of InLink and OutLink: a name, or its beginning and "*"
	Type   string       // of SourceType and DestinationType: one of AddressTypes
	Or     []Condition  // alternatives to this condition, which have none themselves
}

// Alternatives returns the number of combinations of conditions. Each combination is a rule.
func Alternatives(cs []Condition) int {
	n := 1
	for _, c := range cs {
		n *= 1 + len(c.Or)
	}
	return n
}

// alternatives returns the combinations, of conditions without alternatives.
func alternatives(cs []Condition) [][]Condition {
	all := [][]Condition{nil}
	for _, c := range cs {
		var longer [][]Condition
		for _, head := range all {
			for _, one := range append([]Condition{c}, c.Or...) {
				one.Or = nil
				longer = append(longer, append(slices.Clip(head), one))
			}
		}
		all = longer
	}
	return all
}

// String returns the condition in the nft program's words: "ip saddr != 10.0.0.0/8".
func (c Condition) String() string {
	operator := " "
	if c.Not {
		operator = " != "
	}
	text := c.text(operator)
	for _, other := range c.Or {
		text += " or " + other.String()
	}
	return text
}

func (c Condition) text(operator string) string {
	switch c.Field {
	case SourceType:
		return "fib saddr type" + operator + c.Type
	case DestinationType:
		return "fib daddr type" + operator + c.Type
	case InLink:
		return fmt.Sprintf("iifname%s%q", operator, c.Link)
	case OutLink:
		return fmt.Sprintf("oifname%s%q", operator, c.Link)
	}
	text := c.Prefix.Masked().String()
	if c.Prefix.IsSingleIP() {
		text = c.Prefix.Addr().String()
	}
	return pick(familyOf(c.Prefix.Addr()), "ip ", "ip6 ") + [...]string{"saddr", "daddr"}[c.Field] + operator + text
}

// conditionsText joins conditions, of a family.
func conditionsText(f portFamily, cs []Condition) string {
	words := make([]string, len(cs))
	for i, c := range cs {
		words[i] = c.String()
	}
	return f.name("") + " " + strings.Join(words, " ")
}

// ofAddress reports whether the condition looks into the packet's header.
func (c Condition) ofAddress() bool { return c.Field == Source || c.Field == Destination }

func checkConditions(four, six []Condition) error {
	for i, c := range append(four[:len(four):len(four)], six...) {
		f := family4
		if i >= len(four) {
			f = family6
		}
		for _, one := range append([]Condition{c}, c.Or...) {
			if err := one.check(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c Condition) check(f portFamily) error {
	switch c.Field {
	case Source, Destination:
		if !c.Prefix.IsValid() || c.Prefix.Addr().Is4In6() || familyOf(c.Prefix.Addr()) != f {
			return fmt.Errorf("condition on prefix %s: not one of IPv%c", c.Prefix, rune(f))
		}
	case InLink, OutLink:
		if c.Link == "" || len(c.Link) >= unix.IFNAMSIZ || strings.ContainsFunc(c.Link, forbidden) {
			return fmt.Errorf("condition on link %q: a link's name has 1 to %d bytes", c.Link, unix.IFNAMSIZ-1)
		}
	case SourceType, DestinationType:
		if !slices.Contains(addressTypes[:], c.Type) {
			return fmt.Errorf("condition on type of address %q: unknown", c.Type)
		}
	default:
		return fmt.Errorf("condition of unknown field %d", c.Field)
	}
	return nil
}

// exprs returns the condition as the nft program compiles it, without the check of the family that
// comes before.
func (c Condition) exprs() []expr.Any {
	op := expr.CmpOpEq
	if c.Not {
		op = expr.CmpOpNeq
	}
	if c.Field == InLink || c.Field == OutLink {
		key := expr.MetaKeyIIFNAME
		if c.Field == OutLink {
			key = expr.MetaKeyOIFNAME
		}
		name, ok := strings.CutSuffix(c.Link, "*")
		data := []byte(name)
		if !ok {
			data = linkKey(name)
		}
		if len(data) == 0 {
			return nil // any link, "*"
		}
		return []expr.Any{&expr.Meta{Key: key, Register: unix.NFT_REG_1}, &expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: data}}
	}
	if c.Field == SourceType || c.Field == DestinationType {
		return []expr.Any{
			&expr.Fib{Register: unix.NFT_REG_1, FlagSADDR: c.Field == SourceType, FlagDADDR: c.Field == DestinationType, ResultADDRTYPE: true},
			&expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: binaryutil.NativeEndian.PutUint32(uint32(slices.Index(addressTypes[:], c.Type)))},
		}
	}
	// Sources begin at byte 12 (IPv4) and 8 (IPv6) of their headers, and destinations follow them.
	f := familyOf(c.Prefix.Addr())
	offset := uint32(pick(f, 12, 8))
	if c.Field == Destination {
		offset += uint32(pick(f, 4, 16))
	}
	return compare(offset, op, c.Prefix)
}

// compare compares an address in the network header with a prefix. A prefix of whole bytes is
// compared without a mask, as the nft program does too. So rules that a firewall saved and restored
// are still the same.
func compare(offset uint32, op expr.CmpOp, p netip.Prefix) []expr.Any {
	addr := p.Masked().Addr().AsSlice()
	if p.Bits()%8 == 0 && p.Bits() > 0 {
		addr = addr[:p.Bits()/8]
	}
	n := uint32(len(addr))
	es := []expr.Any{network(offset, n)}
	if p.Bits() < len(addr)*8 {
		mask := make([]byte, n)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		es = append(es, &expr.Bitwise{SourceRegister: unix.NFT_REG_1, DestRegister: unix.NFT_REG_1, Len: n, Mask: mask, Xor: make([]byte, n)})
	}
	return append(es, &expr.Cmp{Op: op, Register: unix.NFT_REG_1, Data: addr})
}
