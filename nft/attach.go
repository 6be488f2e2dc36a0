// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxTries bounds how often a change starts anew because others changed the ruleset in between. Each time
// somebody else's change has succeeded, so that many in a row means a host that does nothing else.
const maxTries = 200

// errContended is the end of maxTries.
var errContended = errors.New("nft: other programs change the ruleset without pause")

// Attach puts an attachment into the ruleset. When all is as always it sends one transaction of elements and
// receives one answer; a guard takes a look-up before. It builds the rules that the kernel says are missing. Keys
// that are taken are taken over: an address has one owner, and who attaches last is it, as a dead owner's element
// may have been left. Attaching again what is there changes nothing.
//
// Errors: *Error for what the kernel refused, *UnsupportedError for what it lacks.
func (c *Conn) Attach(a Attachment) error {
	if err := a.check(false); err != nil {
		return err
	}
	es := a.elements()
	if len(es) == 0 {
		return nil
	}
	build := false
	for range maxTries {
		err := c.attach(a, es, build)
		switch {
		case err == nil:
			return nil
		case hasErrno(err, unix.ERESTART):
		case hasErrno(err, unix.ENOENT) && build:
			return lacking(err)
		case hasErrno(err, unix.ENOENT):
			build = true
		default:
			return err
		}
	}
	return errContended
}

func (c *Conn) attach(a Attachment, es []element, build bool) error {
	var b batch
	var seen *uint32
	if a.Guard != nil {
		found, generation, err := c.lookUp([]element{{set: guarded, key: linkKey(a.Guard.HostLink)}})
		if err != nil {
			return err
		}
		stale, err := c.staleMACs(es, found)
		if err != nil {
			return err
		}
		if len(stale) > 0 {
			b.delete(stale)
			seen = &generation
		}
	}
	if build {
		b.build(a.ruleset())
	}
	b.put(es)
	return c.commit(&b, seen)
}

// staleMACs returns what allows a guarded link another MAC than its new one: its last owner's.
func (c *Conn) staleMACs(es []element, found []*element) ([]element, error) {
	var ask []element
	for _, f := range found {
		if f == nil || f.set != guarded {
			continue
		}
		old := element{set: allowed}
		g, ok := f.guard()
		if old.key = allowedKey(g); ok && !holds(es, old) {
			ask = append(ask, old)
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	answers, _, err := c.lookUp(ask)
	return dense(answers), err
}

// holds says whether a list has an element of e's key.
func holds(es []element, e element) bool {
	for _, f := range es {
		if f.set == e.set && string(f.key) == string(e.key) {
			return true
		}
	}
	return false
}

// lookUp gets elements by their keys, nil for one that isn't there, and the generation of the ruleset in which
// they were so.
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
	var ms []netlink.Message
	for _, e := range es {
		var b batch
		b.delete([]element{{set: e.set, key: e.key}})
		for _, m := range b.messages() {
			m.Header = netlink.Header{Type: messageType(unix.NFT_MSG_GETSETELEM), Flags: netlink.Request}
			ms = append(ms, m)
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

// askIn asks, and says of which generation the answers are: that before the first of them, so a change
// in the middle shows too.
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
