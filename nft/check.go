// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// CheckSender reports whether a sender, and the rules that its elements are for, are in the ruleset
// as Attach made them. Errors: *MissingError for the first that is missing or different.
func (c *Conn) CheckSender(a Sender) error {
	if err := a.check(false); err != nil {
		return err
	}
	es := a.elements()
	if len(es) == 0 {
		return nil
	}
	return c.steadily(func() (generation uint32, _ error) {
		found, generation, err := c.lookUp(es)
		if err != nil {
			return 0, err
		}
		return generation, c.checkFound(a, es, found)
	})
}

// steadily repeats a look that found something missing while the ruleset changed: what one question
// was answered needn't fit the answer to the next. The look returns the generation before it.
func (c *Conn) steadily(look func() (generation uint32, err error)) error {
	for range maxTries {
		then, err := look()
		var missing *MissingError
		if !errors.As(err, &missing) {
			return err
		}
		if _, now, askErr := c.lookUp(nil); askErr != nil || now == then {
			return err
		}
	}
	return ErrInterrupted
}

// checkFound compares a sender's elements with those that were found in their places, and then the
// rules.
func (c *Conn) checkFound(a Sender, es []element, found []*element) error {
	for i, e := range es {
		missing := &MissingError{Owner: a.Owner, What: "element " + e.set.table.String() + " " + e.set.name + " " + e.keyText()}
		switch f := found[i]; {
		case f == nil:
			// The elements of an earlier version count until they are taken over.
			if old, err := c.hasOld(e); old || err != nil {
				return err
			}
			return missing
		case !f.same(&e):
			missing.Found = f.String()
			return missing
		}
	}
	return c.checkRules(a)
}

// checkRules compares the rules that the attachment needs with the kernel's.
func (c *Conn) checkRules(a Sender) error {
	var cs []chain
	if len(a.Masquerade) > 0 {
		s, err := c.survey()
		if err != nil {
			return err
		}
		cs = append(cs, masqueradeChain(s.sets))
	}
	if a.Guard != nil {
		cs = append(cs, guardChain())
	}
	for _, want := range cs {
		what, err := c.differs(want)
		if err != nil {
			return err
		}
		if what != "" {
			return &MissingError{Owner: a.Owner, What: what + " " + want.table.String() + " " + want.name}
		}
	}
	return nil
}

// differs says which part of a chain isn't as it should be: nothing, the chain itself, or its
// rules. Rules behind ours are another program's.
func (c *Conn) differs(want chain) (what string, err error) {
	var b batch
	b.chain(want)
	replies, err := c.ask([]netlink.Message{getChain(want.table, want.name)})
	if err != nil {
		return "", err
	}
	var exprs [][]byte
	for _, m := range b.messages() {
		switch m.Header.Type {
		case messageType(unix.NFT_MSG_NEWCHAIN):
			if replies[0].errno != 0 || !covers(replies[0].data, m.Data[genMessageLen:]) {
				return "chain", nil
			}
		case messageType(unix.NFT_MSG_NEWRULE):
			e, err := attribute(m.Data[genMessageLen:], unix.NFTA_RULE_EXPRESSIONS)
			if err != nil {
				return "", err
			}
			exprs = append(exprs, e)
		}
	}
	same, err := c.beginsWith(want, exprs)
	if err == nil && !same {
		what = "rules of chain"
	}
	return what, err
}

// beginsWith reports whether a chain's first rules have these expressions.
func (c *Conn) beginsWith(want chain, exprs [][]byte) (bool, error) {
	for range maxTries {
		i, same := 0, true
		err := c.dump(listRules(want.table, want.name), func(data []byte) error {
			got, err := decodeRule(data)
			if i < len(exprs) {
				same = same && sameExpressions(got.exprs, exprs[i])
			}
			i++
			return err
		})
		if err == nil {
			return same && i >= len(exprs), nil
		}
		if err != errChanged {
			return false, err
		}
	}
	return false, ErrInterrupted
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

// sameExpression allows further attributes that are zero: the kernel adds those that were left at
// their default.
func sameExpression(got, want []byte) bool {
	name, _ := attribute(want, unix.NFTA_EXPR_NAME)
	if gotName, _ := attribute(got, unix.NFTA_EXPR_NAME); !bytes.Equal(gotName, name) {
		return false
	}
	wantData, _ := attribute(want, unix.NFTA_EXPR_DATA)
	gotData, _ := attribute(got, unix.NFTA_EXPR_DATA)
	for w := (attributes{rest: wantData}); w.next(); {
		// A set's ID means something only within its transaction.
		if string(name) == "lookup\x00" && w.kind == unix.NFTA_LOOKUP_SET_ID {
			continue
		}
		if !coversAttribute(gotData, w) {
			return false
		}
	}
	for g := (attributes{rest: gotData}); g.next(); {
		asked, _ := attribute(wantData, g.kind)
		// The kernel also reports the ends of a translation's ranges, and flags that follow from
		// them.
		if string(name) == "nat\x00" && g.kind >= unix.NFTA_NAT_REG_ADDR_MAX {
			continue
		}
		if asked == nil && len(bytes.Trim(g.value, "\x00")) > 0 {
			return false
		}
	}
	return true
}

// covers reports whether each attribute of want is in got with the same value.
func covers(got, want []byte) bool {
	w := attributes{rest: want}
	for w.next() {
		if !coversAttribute(got, w) {
			return false
		}
	}
	return w.err == nil
}

// coversAttribute compares values as bytes. If they differ it compares them as lists of attributes,
// since a nested attribute's header may say so or not.
func coversAttribute(got []byte, w attributes) bool {
	value, err := attribute(got, w.kind)
	if err != nil || value == nil {
		return false
	}
	return bytes.Equal(value, w.value) || len(w.value) > unix.SizeofNlAttr && covers(value, w.value)
}
