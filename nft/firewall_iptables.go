// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The tables that iptables-nft keeps accept rules in its own form only, extensions of xtables
// included. With anything else in a table the iptables programs list it no more.

const (
	forwardChain = "FORWARD"
	cniForward   = "CNI-FORWARD"
	// firewallComment is what the reference calls its rule in FORWARD.
	firewallComment = "CNI firewall plugin rules"
	adminComment    = "CNI firewall plugin admin overrides"
)

// filterTable is where iptables-nft keeps a family's table filter.
func filterTable(f portFamily) table {
	return table{pick[byte](f, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6), "filter"}
}

// usualUse is how often CNI-FORWARD is used in the common case: its two rules, and the one that
// leads to it.
const usualUse = 3

// detourQuestions asks for the chains of the way through iptables' tables.
func detourQuestions(f portFamily, admin string) []netlink.Message {
	t := filterTable(f)
	return []netlink.Message{getChain(t, forwardChain), getChain(t, cniForward), getChain(t, admin)}
}

// needsDetour says, by the answers, whether the rules must be looked at. They needn't be if a chain
// that only we use in its usual form is used as often as usual. Another name of the administrator's
// chain can't be recognized in that way. A missing chain FORWARD is made, since a firewall that
// comes later adds its own rules to it, behind ours.
func needsDetour(replies []reply, admin string) bool {
	forward, ours, admins := replies[0], replies[1], replies[2]
	if forward.errno == 0 && !isForwardHook(forward.data) {
		return false // no packet passes it
	}
	return forward.errno != 0 || ours.errno != 0 || admins.errno != 0 || admin != DefaultAdminChain || chainUse(ours.data) != usualUse
}

func isForwardHook(data []byte) bool {
	nested, _ := attribute(data, unix.NFTA_CHAIN_HOOK)
	number, _ := attribute(nested, unix.NFTA_HOOK_HOOKNUM)
	return len(number) == 4 && binary.BigEndian.Uint32(number) == unix.NF_INET_FORWARD
}

// chainUse counts a chain's rules and the jumps to it.
func chainUse(data []byte) uint32 {
	use, _ := attribute(data, unix.NFTA_CHAIN_USE)
	if len(use) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(use)
}

// A detour says which of our rules iptables' tables have, and whether they have the chain that the
// kernel visits. Without the extensions of xtables (NFT_COMPAT) there is no iptables-nft, so
// nothing is missing.
type detour struct{ forward, jump, admin, accept, needless bool }

func (d detour) whole() bool { return d.forward && d.jump && d.admin && d.accept || d.needless }

// detour goes through the rules of FORWARD and CNI-FORWARD.
func (c *Conn) detour(f portFamily, admin string) (d detour, err error) {
	t := filterTable(f)
	replies, err := c.ask([]netlink.Message{getChain(t, forwardChain)})
	if err != nil {
		return d, err
	}
	if d.forward = replies[0].errno == 0; !d.forward {
		d.needless, err = c.lacksCompat(f)
		return d, err
	}
	err = c.rules(t, forwardChain, func(r listedRule) { d.jump = d.jump || jumpsTo(r.exprs, cniForward) })
	if err == nil {
		err = c.rules(t, cniForward, func(r listedRule) {
			d.admin = d.admin || jumpsTo(r.exprs, admin)
			d.accept = d.accept || acceptsMark(r.exprs)
		})
	}
	return d, err
}

// rules gives each rule of a chain, valid during the call. It may miss a rule that changes
// meanwhile.
func (c *Conn) rules(t table, chain string, each func(listedRule)) error {
	err := c.dump(listRules(t, chain), func(data []byte) error {
		r, err := decodeRule(data)
		if err == nil {
			each(r)
		}
		return err
	})
	if err == errChanged || hasErrno(err, unix.ENOENT) {
		return nil // the generation shows it
	}
	return err
}

// lacksCompat asks for the extensions of xtables that our rules need, as iptables-nft does.
func (c *Conn) lacksCompat(f portFamily) (bool, error) {
	family := filterTable(f).family
	replies, err := c.ask([]netlink.Message{compatRequest(family, "comment", 0), compatRequest(family, "mark", markRevision)})
	if refused := new(Error); errors.As(err, &refused) {
		return true, nil
	}
	return err == nil && (replies[0].errno != 0 || replies[1].errno != 0), err
}

// buildForward adds the table filter as iptables-nft makes it when it first needs the chain.
func (b *batch) buildForward(t *nftables.Table) {
	accept := nftables.ChainPolicyAccept
	b.lib().AddTable(t)
	b.lib().AddChain(&nftables.Chain{Name: forwardChain, Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &accept})
}

// buildDetour adds the missing parts of a family's detour. Rules go to the heads of their chains.
func (b *batch) buildDetour(f portFamily, admin string, d detour) {
	t := filterTable(f).object()
	if !d.forward {
		b.buildForward(t)
	}
	chain := func(name string) *nftables.Chain {
		return b.lib().AddChain(&nftables.Chain{Name: name, Table: t})
	}
	insert := func(in string, es ...expr.Any) {
		b.lib().InsertRule(&nftables.Rule{Table: t, Chain: &nftables.Chain{Name: in, Table: t}, Exprs: es})
	}
	chain(admin)
	chain(cniForward)
	if !d.accept {
		insert(cniForward, xtComment(firewallComment), xtMark(), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictAccept})
	}
	if !d.admin {
		insert(cniForward, xtComment(adminComment), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: admin})
	}
	if !d.jump {
		insert(forwardChain, xtComment(firewallComment), &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictJump, Chain: cniForward})
	}
}

func xtComment(text string) expr.Any {
	c := xt.Comment(text)
	return &expr.Match{Name: "comment", Info: &c}
}

// xtMark is "-m mark --mark 0x1000/0x1000", revision 1 (struct xt_mark_mtinfo1,
// linux/netfilter/xt_mark.h), as all versions of iptables-nft read it.
func xtMark() expr.Any {
	info := xt.Unknown(markInfo())
	return &expr.Match{Name: "mark", Rev: markRevision, Info: &info}
}

const markRevision = 1

func markInfo() []byte {
	info := append(native(AcceptMark), native(AcceptMark)...)
	return append(info, make([]byte, 8)...) // not inverted; and up to a multiple of 8
}

// expressions gives name and data of each of a rule's expressions.
func expressions(exprs []byte, each func(name string, data []byte)) {
	for as := (attributes{rest: exprs}); as.next(); {
		name, _ := attribute(as.value, unix.NFTA_EXPR_NAME)
		data, _ := attribute(as.value, unix.NFTA_EXPR_DATA)
		each(string(bytes.TrimRight(name, "\x00")), data)
	}
}

// verdict returns the decision of an immediate expression: a code (NF_ACCEPT, NFT_JUMP) and a
// chain.
func verdict(data []byte) (code int32, chain string, ok bool) {
	v, _ := attribute(data, unix.NFTA_IMMEDIATE_DATA)
	return verdictIn(v)
}

// verdictIn decodes NFTA_DATA_VERDICT among an expression's or an element's data.
func verdictIn(data []byte) (code int32, chain string, ok bool) {
	v, _ := attribute(data, unix.NFTA_DATA_VERDICT)
	if v == nil {
		return 0, "", false
	}
	b, _ := attribute(v, unix.NFTA_VERDICT_CODE)
	name, _ := attribute(v, unix.NFTA_VERDICT_CHAIN)
	if len(b) != 4 {
		return 0, "", false
	}
	return int32(binary.BigEndian.Uint32(b)), string(bytes.TrimRight(name, "\x00")), true
}

// jumpsTo reports whether a rule leads to a chain whatever the packet.
func jumpsTo(exprs []byte, to string) bool {
	jumps, narrows := false, false
	expressions(exprs, func(name string, data []byte) {
		switch name {
		case "immediate":
			code, chain, ok := verdict(data)
			jumps = ok && chain == to && (code == unix.NFT_JUMP || code == unix.NFT_GOTO)
		case "counter":
		case "match":
			narrows = narrows || matchName(data) != "comment"
		default:
			narrows = true
		}
	})
	return jumps && !narrows
}

// acceptsMark reports whether a rule accepts packets with our mark. The rule may be in the form of
// xtables or in nftables' own: newer versions of iptables write the latter when they restore it.
func acceptsMark(exprs []byte) bool {
	marked, accepts := false, false
	expressions(exprs, func(name string, data []byte) {
		switch name {
		case "match":
			info, _ := attribute(data, unix.NFTA_MATCH_INFO)
			marked = marked || matchName(data) == "mark" && bytes.HasPrefix(info, markInfo()[:9])
		case "bitwise":
			mask, _ := attribute(data, unix.NFTA_BITWISE_MASK)
			value, _ := attribute(mask, unix.NFTA_DATA_VALUE)
			marked = marked || bytes.Equal(value, native(AcceptMark))
		case "immediate":
			code, _, ok := verdict(data)
			accepts = ok && code == nfAccept
		}
	})
	return marked && accepts
}

// nfAccept is NF_ACCEPT (linux/netfilter.h).
const nfAccept = 1

func matchName(data []byte) string {
	name, _ := attribute(data, unix.NFTA_MATCH_NAME)
	return string(bytes.TrimRight(name, "\x00"))
}
