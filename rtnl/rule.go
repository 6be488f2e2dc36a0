// SPDX-License-Identifier: Apache-2.0

package rtnl

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Attributes of rules (linux/fib_rules.h).
const (
	fraDst      = 1  // FRA_DST
	fraSrc      = 2  // FRA_SRC
	fraPriority = 6  // FRA_PRIORITY
	fraTable    = 15 // FRA_TABLE
	fraProtocol = 21 // FRA_PROTOCOL, since Linux 4.17
	actionTable = 1  // FR_ACT_TO_TBL
	sizeofRule  = 12 // struct fib_rule_hdr
)

// fraSelectors are the attributes by which a rule selects, other than its source and destination:
// IIFNAME, FWMARK, FLOW, TUN_ID, OIFNAME, L3MDEV, UID_RANGE, IP_PROTO, SPORT_RANGE, DPORT_RANGE,
// DSCP, FLOWLABEL.
var fraSelectors = [...]int{3, 10, 11, 12, 17, 19, 20, 22, 23, 24, 25, 26}

// A Rule is a rule of policy routing. It names the table of routes for packets that come from an
// address. It can be created and deleted. On Delete, all fields that are set must match.
type Rule struct {
	// Src is the source of the packets. A prefix of length 0 is everywhere.
	Src netip.Prefix
	// Table is the routing table. It's 0 for a rule that leads to none, which no batch makes: on
	// Create, the kernel picks an empty table for IPv4 and refuses IPv6.
	Table uint32
	// Priority is the rule's place, the lowest first. On Create, 0 puts the rule before the second
	// of those that exist; the first is that of the local table. The kernel then doesn't call two
	// rules duplicates that are equal otherwise.
	Priority int
	// Protocol names the program that made the rule (RTPROT_*, Linux 4.17). Rules added by hand
	// have none.
	Protocol uint8
}

// A RuleState is a rule as the kernel describes it. Its Rule can be sent again, and it can't itself.
type RuleState struct {
	Rule
	answer

	// OtherSelectors says that the rule selects by more than the source.
	OtherSelectors bool
}

func (r Rule) encode(b *Batch, v verb) {
	typ := uint16(unix.RTM_NEWRULE)
	switch v {
	case create:
	case remove:
		typ = unix.RTM_DELRULE
	default:
		b.unsupported(v, "rule")
		return
	}
	b.begin(typ, v.flags())
	family := familyOf(r.Src.Addr())
	if family == unix.AF_UNSPEC || r.Src != r.Src.Masked() {
		b.fail(syscall.EINVAL, "a rule needs a source without host bits")
	}
	// struct fib_rule_hdr: family, dst_len, src_len, tos, table, two reserved, action, flags.
	e := &b.enc
	short := uint8(unix.RT_TABLE_UNSPEC)
	if r.Table < 256 {
		short = uint8(r.Table)
	}
	e.fixed(family, 0, uint8(max(r.Src.Bits(), 0)), 0, short, 0, 0, actionTable)
	e.fixed32(0)
	if r.Src.Bits() > 0 {
		e.addr(fraSrc, r.Src.Addr())
	}
	if r.Table >= 256 {
		e.u32(fraTable, r.Table)
	}
	if r.Priority != 0 {
		e.u32(fraPriority, uint32(r.Priority))
	}
	if r.Protocol != 0 {
		e.u8(fraProtocol, r.Protocol)
	}
	b.end()
}

func decodeRule(b []byte) (r RuleState, err error) {
	if len(b) < sizeofRule {
		return r, errShort
	}
	src := netip.IPv6Unspecified()
	if b[0] == unix.AF_INET {
		src = netip.IPv4Unspecified()
	}
	r.Table, r.OtherSelectors = uint32(b[4]), b[1] != 0 || b[3] != 0
	a := attrs{rest: b[sizeofRule:]}
	for a.next() {
		switch a.typ {
		case fraSrc:
			src = a.addr()
		case fraTable:
			r.Table = a.u32()
		case fraPriority:
			r.Priority = int(a.u32())
		case fraProtocol:
			r.Protocol = a.u8()
		}
		for _, typ := range fraSelectors {
			r.OtherSelectors = r.OtherSelectors || a.typ == typ
		}
	}
	if b[7] != actionTable {
		r.Table = 0
	}
	r.Src = netip.PrefixFrom(src, int(b[2]))
	if a.err == nil && !r.Src.IsValid() {
		a.err = errShort
	}
	return r, a.err
}

// Rules lists the rules of a family in their order. Family is unix.AF_INET, AF_INET6 or 0 for both.
// Errors: [*Error], [ErrInterrupted].
func (c *Conn) Rules(family uint8) iter.Seq2[RuleState, error] {
	return dump(c, "list rules", func() {
		c.beginDump(unix.RTM_GETRULE)
		c.enc.fixed(family, 0, 0, 0, 0, 0, 0, 0)
		c.enc.fixed32(0)
	}, func(b []byte, add func(RuleState)) error {
		if len(b) > 0 && b[0] != unix.AF_INET && b[0] != unix.AF_INET6 {
			return nil // it's of multicast routing
		}
		r, err := decodeRule(b)
		if err == nil {
			add(r)
		}
		return err
	})
}

func (r Rule) write(w *words) {
	w.word("rule", "from", r.Src.String())
	if r.Table != 0 {
		w.word("lookup", strconv.FormatUint(uint64(r.Table), 10))
	}
	w.number("pref", r.Priority)
	w.number("proto", int(r.Protocol))
}

// decodeRuleChange decodes a batch's message about a rule.
func decodeRuleChange(b []byte) (Object, error) {
	r, err := decodeRule(b)
	if err == nil && (binary.NativeEndian.Uint32(b[8:]) != 0 || b[7] != actionTable || r.OtherSelectors) {
		err = errShort
	}
	return r.Rule, err
}
