// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// maxTries bounds how often a change starts anew because others changed the ruleset in between.
// Each time another program's change has succeeded. So many in a row mean a host that does nothing
// else.
const maxTries = 200

// ErrInterrupted is the error of a change, a listing or a check that other programs' changes of the
// ruleset overtook 200 times in a row. It can be tried again.
var ErrInterrupted = errors.New("nft: other programs change the ruleset without pause")

// Attach puts senders into the ruleset, all of them or none. In the common case this is a single
// send of one transaction, and one answer. If the kernel says that rules are missing, Attach builds
// them. If it says that keys are taken, Attach takes them over: an address has one owner, the last
// to be attached, since a dead owner's element may have been left. Attaching the same sender again
// changes nothing but the ruleset's generation, see [Conn.Spare].
//
// Each refusal costs an RCU grace period, about 10 ms.
//
// Errors: [*Error] for a change that the kernel refused, [*UnsupportedError] for a feature that it
// lacks, [ErrInterrupted].
func (c *Conn) Attach(list ...Sender) error {
	es, err := elementsOf(list)
	if err != nil || len(es) == 0 {
		return err
	}
	for range maxTries {
		var b batch
		b.create(es)
		err := c.commitLarge(&b, nil)
		if hasErrno(err, unix.EEXIST, unix.EBUSY) {
			err = c.replace(es)
		}
		if hasErrno(err, unix.ENOENT) {
			err = c.build(needOf(es), nil)
			if err == nil {
				continue
			}
		}
		if !hasErrno(err, unix.ERESTART) {
			return err
		}
	}
	return ErrInterrupted
}

// elementsOf returns the elements of attachments.
func elementsOf(list []Sender) (es []element, err error) {
	for i := range list {
		a := &list[i]
		if err := a.check(false); err != nil {
			return nil, err
		}
		if len(list) == 1 {
			return a.elements(), nil
		}
		es = append(es, a.elements()...)
	}
	// A message holds the elements of one set.
	order.By(es, func(a, b element) int { return strings.Compare(a.set.name, b.set.name) })
	return es, nil
}

// Build builds the missing parts of a ruleset, and makes the rules of its chains anew. Attach does
// it by itself, but has to be refused first. So call Build if the rules are likely to be missing,
// as on a host whose bridge was missing too, or to repair them after a firewall's flush.
//
// It takes over the rules and sets of an earlier version, and removes the sets that have no
// members.
func (c *Conn) Build(r Ruleset) error {
	for _, p := range r.Subnets {
		if !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			return fmt.Errorf("nft: masquerade of subnet %s: not a subnet", p)
		}
	}
	return c.build(r.needs(), r.Subnets)
}

// build adds what a change needs, and spares what subnets need.
func (c *Conn) build(n need, subnets []netip.Prefix) error {
	return lacking(c.reshape(n, sparing(subnets)))
}

// replace creates elements some of whose keys are taken. Right elements stay, and those of other
// owners go.
func (c *Conn) replace(es []element) error {
	found, generation, err := c.lookUp(es)
	if err != nil {
		return err
	}
	var b batch
	if err := c.replacement(&b, es, es, found); err != nil {
		return err
	}
	if b.empty() {
		b.renew(es[0])
	}
	return c.commitLarge(&b, &generation)
}

// replacement creates those of some elements that weren't found as they should be, and deletes the
// elements in their place. No element of all is deleted for another.
func (c *Conn) replacement(b *batch, all, some []element, found []*element) error {
	stale, err := c.stale(all, found)
	if err != nil {
		return err
	}
	var made []element
	for i, e := range some {
		f := found[i]
		if f != nil && f.same(&e) {
			continue
		}
		if f != nil {
			stale = append(stale, *f)
		}
		made = append(made, e)
	}
	b.delete(stale)
	b.create(made)
	return nil
}

// stale returns the elements that followed from those that were found and aren't among the new
// ones: a guarded link's last MAC, an address's last subnet.
func (c *Conn) stale(es []element, found []*element) ([]element, error) {
	var ask []element
	for _, e := range dense(found) {
		for _, f := range e.followers(nil) {
			if !holds(es, f) {
				ask = append(ask, f)
			}
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	answers, _, err := c.lookUp(ask)
	return dense(answers), err
}

// same reports whether an element of the same key is as another.
func (e *element) same(other *element) bool {
	return e.comment == other.comment && string(e.data) == string(other.data)
}

// holds reports whether a list has an element of e's key.
func holds(es []element, e element) bool {
	for _, f := range es {
		if f.set == e.set && string(f.key) == string(e.key) {
			return true
		}
	}
	return false
}

// lookUp gets elements by their keys, and the generation of the ruleset in which they were so. An
// element that doesn't exist is nil.
func (c *Conn) lookUp(es []element) (found []*element, generation uint32, err error) {
	replies, generation, err := c.askIn(lookUps(es))
	if err != nil {
		return nil, 0, err
	}
	found, err = decodeLookUps(es, replies)
	return found, generation, err
}

// lookUps returns the questions for elements: NFT_MSG_GETSETELEM has the form of a deletion.
func lookUps(es []element) []netlink.Message {
	ms := make([]netlink.Message, len(es))
	for i, e := range es {
		ms[i] = netlink.Message{
			Header: netlink.Header{Type: messageType(unix.NFT_MSG_GETSETELEM), Flags: netlink.Request},
			Data:   elementList([]element{{set: e.set, key: e.key}}),
		}
	}
	return ms
}

func decodeLookUps(es []element, replies []reply) ([]*element, error) {
	found := make([]*element, len(es))
	for i, e := range es {
		if replies[i].errno != 0 {
			continue
		}
		err := decodeElements(replies[i].data, e.set, func(f element) { found[i] = &f })
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// askIn asks, and says of which generation the answers are: the one before the first of them. So a
// change in the middle shows too.
func (c *Conn) askIn(ms []netlink.Message) ([]reply, uint32, error) {
	replies, err := c.ask(append([]netlink.Message{getGeneration()}, ms...))
	if err != nil {
		return nil, 0, err
	}
	if replies[0].errno != 0 {
		return nil, 0, &UnsupportedError{Missing: "NFT_MSG_GETGEN (Linux 3.18)", Err: replies[0].errno}
	}
	g, err := decodeGeneration(replies[0].data)
	return replies[1:], g, err
}
