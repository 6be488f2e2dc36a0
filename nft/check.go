// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"errors"
	"strconv"

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
		missing := &MissingError{Owner: a.Owner, What: "element " + e.set.table().String() + " " + e.set.String() + " " + e.keyText()}
		switch f := found[i]; {
		case f == nil:
			return missing
		case !f.same(e):
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
			n, err := c.countRules(want)
			if err != nil {
				return err
			}
			if n != len(want.rules) {
				return &MissingError{Owner: a.Owner, What: "rule " + strconv.Itoa(n+1) + " of chain " + t.String() + " " + want.name}
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
	return covers(replies[0].data, want.message(unix.NFT_MSG_NEWCHAIN)[0]), nil
}

// countRules counts the rules that a chain begins with as it should. Rules behind them aren't ours.
func (c *Conn) countRules(want chain) (int, error) {
	rules := want.message(unix.NFT_MSG_NEWRULE)
	for i := range rules {
		exprs, err := attribute(rules[i], unix.NFTA_RULE_EXPRESSIONS)
		if err != nil {
			return 0, err
		}
		rules[i] = exprs
	}
	for range maxTries {
		n, place := 0, 0
		err := c.dump(listRules(want.table, want.name), func(data []byte) error {
			got, err := decodeRule(data)
			if err == nil && place == n && n < len(rules) && sameExpressions(got.exprs, rules[n]) {
				n++
			}
			place++
			return err
		})
		if !errors.Is(err, errChanged) {
			return n, err
		}
	}
	return 0, errContended
}

// message returns the attributes of the messages of one kind that create the chain.
func (c chain) message(kind int) [][]byte {
	var b batch
	b.chain(c)
	var found [][]byte
	for _, m := range b.messages() {
		if m.Header.Type == messageType(kind) {
			found = append(found, m.Data[genMessageLen:])
		}
	}
	return found
}

// sameExpressions compares a rule's expressions one by one. What the kernel adds doesn't matter: it fills
// in what was left at its default.
func sameExpressions(got, want []byte) bool {
	g, w := attributes{rest: got}, attributes{rest: want}
	for w.next() {
		if !g.next() || g.kind != w.kind || !coversExpression(g.value, w.value) {
			return false
		}
	}
	return !g.next() && w.err == nil && g.err == nil
}

func coversExpression(got, want []byte) bool {
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
