// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Check says whether an attachment, and the rules that its elements are for, are in the ruleset as Attach
// made them. Errors: *MissingError for the first that is missing or different.
func (c *Conn) Check(a Attachment) error {
	if err := a.check(false); err != nil {
		return err
	}
	es := a.elements()
	if len(es) == 0 {
		return nil
	}
	found, _, err := c.lookUp(es)
	if err != nil {
		return err
	}
	for i, e := range es {
		missing := &MissingError{Owner: a.Owner, What: "element " + e.set.table.String() + " " + e.set.name + " " + e.keyText()}
		switch f := found[i]; {
		case f == nil:
			return missing
		case f.comment != e.comment:
			missing.Found = f.String()
			return missing
		}
	}
	return c.checkRules(a)
}

// checkRules compares what the attachment's rules would be built from with what the kernel has.
func (c *Conn) checkRules(a Attachment) error {
	r := a.ruleset()
	for _, t := range r.tables() {
		for _, want := range r.chains(t) {
			ok, err := c.hasChain(want)
			if err != nil {
				return err
			}
			if !ok {
				return &MissingError{Owner: a.Owner, What: "chain " + t.String() + " " + want.name}
			}
			if ok, err = c.hasRule(want); err != nil {
				return err
			}
			if !ok {
				return &MissingError{Owner: a.Owner, What: "rule of chain " + t.String() + " " + want.name}
			}
		}
	}
	return nil
}

// hasChain says whether a chain is there with its hook, priority and policy.
func (c *Conn) hasChain(want chain) (bool, error) {
	replies, err := c.ask([]netlink.Message{getChain(want.table, want.name)})
	if err != nil || replies[0].errno != 0 {
		return false, err
	}
	return covers(replies[0].data, want.message(unix.NFT_MSG_NEWCHAIN)), nil
}

// hasRule says whether a chain begins with its rule. Rules behind it aren't ours.
func (c *Conn) hasRule(want chain) (bool, error) {
	exprs, err := attribute(want.message(unix.NFT_MSG_NEWRULE), unix.NFTA_RULE_EXPRESSIONS)
	if err != nil {
		return false, err
	}
	for range maxTries {
		first, ok := true, false
		err := c.dump(listRules(want.table, want.name), func(data []byte) error {
			got, err := decodeRule(data)
			ok = ok || first && sameExpressions(got.exprs, exprs)
			first = false
			return err
		})
		if !errors.Is(err, errChanged) {
			return ok, err
		}
	}
	return false, errContended
}

// message returns the attributes of the message of a kind that creates the chain.
func (c chain) message(kind int) []byte {
	var b batch
	b.chain(c)
	for _, m := range b.messages() {
		if m.Header.Type == messageType(kind) {
			return m.Data[genMessageLen:]
		}
	}
	return nil
}

// sameExpressions compares the expressions of two rules one by one: got is the kernel's, want ours.
func sameExpressions(got, want []byte) bool {
	g, w := attributes{rest: got}, attributes{rest: want}
	for w.next() {
		if !g.next() || g.kind != w.kind || !sameExpression(g.value, w.value) {
			return false
		}
	}
	return !g.next() && w.err == nil && g.err == nil
}

// sameExpression lets the kernel add attributes that are zero: it fills in what was left at its default.
func sameExpression(got, want []byte) bool {
	name, _ := attribute(want, unix.NFTA_EXPR_NAME)
	if gotName, _ := attribute(got, unix.NFTA_EXPR_NAME); !bytes.Equal(gotName, name) {
		return false
	}
	wantData, _ := attribute(want, unix.NFTA_EXPR_DATA)
	gotData, _ := attribute(got, unix.NFTA_EXPR_DATA)
	for w := (attributes{rest: wantData}); w.next(); {
		// A set's ID means something within its transaction only.
		if string(name) == "lookup\x00" && w.kind == unix.NFTA_LOOKUP_SET_ID {
			continue
		}
		if !coversAttribute(gotData, w) {
			return false
		}
	}
	for g := (attributes{rest: gotData}); g.next(); {
		asked, _ := attribute(wantData, g.kind)
		// Of a translation the kernel also tells the ends of its ranges, and flags that follow from them.
		if string(name) == "nat\x00" && g.kind >= unix.NFTA_NAT_REG_ADDR_MAX {
			continue
		}
		if asked == nil && len(bytes.Trim(g.value, "\x00")) > 0 {
			return false
		}
	}
	return true
}

// covers says whether each attribute of want is in got with the same value.
func covers(got, want []byte) bool {
	w := attributes{rest: want}
	for w.next() {
		if !coversAttribute(got, w) {
			return false
		}
	}
	return w.err == nil
}

// coversAttribute compares values as bytes or else, since a nested attribute's header may say so or not, as
// lists of attributes.
func coversAttribute(got []byte, w attributes) bool {
	value, err := attribute(got, w.kind)
	if err != nil || value == nil {
		return false
	}
	return bytes.Equal(value, w.value) || len(w.value) > unix.SizeofNlAttr && covers(value, w.value)
}
