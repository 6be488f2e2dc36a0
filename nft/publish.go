// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A PortTakenError is a port that another owner has. It is fs.ErrExist.
type PortTakenError struct {
	Owner   Owner       // who asked
	Mapping PortMapping // for what
	Holder  Owner       // who has it; the zero Owner is an element that another program made
	Target  netip.AddrPort
	Note    string // the holder's, see [Publication]
}

func (e *PortTakenError) Error() string {
	holder := "another program"
	if e.Holder != (Owner{}) {
		holder = e.Holder.String()
	}
	return fmt.Sprintf("nft: %s: %s is taken by %s, and leads to %s", e.Owner, e.Mapping.HostText(), holder, e.Target)
}

// Is makes errors.Is(err, fs.ErrExist) true.
func (e *PortTakenError) Is(target error) bool { return unix.EEXIST.Is(target) }

// Publish maps ports, in one transaction however many there are. When all is as always it asks whether the rules are
// there, and sends the elements. It doesn't matter how many ports others have.
//
// Publishing again replaces what the owner had. A container's address has one owner, and who publishes it last is
// it: what an earlier owner, dead by then, had published goes. A port that somebody else has is left there, and nothing changes.
//
// Errors: *PortTakenError, *Error for what the kernel refused, *UnsupportedError for what it lacks.
func (c *Conn) Publish(p Publication) error {
	if err := p.check(); err != nil {
		return err
	}
	es := p.elements()
	if len(es) == 0 {
		return nil
	}
	rules := p.ruleset()
	// A refusal would say it too, and costs 10 ms.
	build, err := c.lacksRules(rules)
	if err != nil {
		return err
	}
	for range maxTries {
		var b batch
		if build {
			b.buildPorts(rules)
		}
		b.create(es)
		err := c.commitLarge(&b, nil)
		if hasErrno(err, unix.EEXIST, unix.EBUSY) {
			err = c.settle(&p, es, build)
		}
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

// lacksRules asks for the chains that may be missing where others are there.
func (c *Conn) lacksRules(r portRuleset) (bool, error) {
	var ms []chain
	for _, x := range r.families {
		ms = append(ms, chain{table: masqueradeTable, name: x.chains()[0].name}, chain{table: masqueradeTable, name: x.family.hairpin(x.subnet).name})
	}
	present, err := c.present(ms)
	return len(present) < len(ms), err
}

// present returns those of chains, of which table and name are looked at, that are there.
func (c *Conn) present(chains []chain) ([]chain, error) {
	var ms []netlink.Message
	for _, x := range chains {
		ms = append(ms, getChain(x.table, x.name))
	}
	replies, err := c.ask(ms)
	if err != nil {
		return nil, err
	}
	var there []chain
	for i, r := range replies {
		if r.errno == 0 {
			there = append(there, chains[i])
		}
	}
	return there, nil
}

// settle publishes elements some of whose keys are taken: by this owner itself, by who had the address before, or by
// another, which is an error.
func (c *Conn) settle(p *Publication, es []element, build bool) error {
	found, generation, err := c.lookUp(es)
	if err != nil {
		return err
	}
	replaced := map[string]bool{p.Owner.comment(): true}
	for _, f := range found {
		if f != nil && !f.set.key.isPort() {
			replaced[f.owner()] = true
		}
	}
	for i, f := range found {
		if f != nil && !replaced[f.owner()] {
			return c.taken(p, es[i], f)
		}
	}
	all, err := c.listPorts()
	if err != nil {
		return err
	}
	var b batch
	if build {
		b.buildPorts(p.ruleset())
	}
	there := map[string]bool{}
	for _, e := range all {
		if !replaced[e.owner()] {
			continue
		}
		if w := find(es, e); w != nil && w.comment == e.comment && string(w.data) == string(e.data) {
			there[e.id()] = true
			continue
		}
		b.delete([]element{e})
	}
	for _, e := range es {
		if !there[e.id()] {
			b.create([]element{e})
		}
	}
	return c.commitLarge(&b, &generation)
}

// id names an element's place.
func (e element) id() string { return e.set.name + " " + string(e.key) }

// find returns the element of a list that has e's place, or nil.
func find(es []element, e element) *element {
	for i := range es {
		if es[i].set == e.set && string(es[i].key) == string(e.key) {
			return &es[i]
		}
	}
	return nil
}

// taken says whose an element is that was found in a wanted one's place. The holder's address has its note.
func (c *Conn) taken(p *Publication, e element, f *element) error {
	err := &PortTakenError{Owner: p.Owner}
	err.Mapping, _, _ = e.mapping()
	_, err.Target, _ = f.mapping()
	err.Holder, _ = parseOwner(f.owner())
	addr := err.Target.Addr()
	if !addr.IsValid() {
		return err
	}
	found, _, lookErr := c.lookUp([]element{{set: familyOf(addr).published(), key: addr.AsSlice()}})
	if lookErr == nil && found[0] != nil && found[0].owner() == f.owner() {
		err.Note = found[0].note()
	}
	return err
}

const (
	// largeBatch is what a socket sends by default (net.core.wmem_default, at least 160 KiB), with room.
	largeBatch = 128 << 10
	// quotedBatch is from where on refusals that quote what they refuse wouldn't fit the receive buffer together.
	quotedBatch = 32 << 10
)

// commitLarge is commit for a transaction that may be larger than what a socket takes by default.
func (c *Conn) commitLarge(b *batch, generation *uint32) error {
	n := 0
	ms := b.messages()
	for _, m := range ms {
		n += len(m.Data) + unix.SizeofNlMsghdr
	}
	*b = batch{elements: ms} // the library gives its messages once
	if n > quotedBatch {
		// NETLINK_CAP_ACK: Linux 4.3.
		_ = unix.SetsockoptInt(c.socket.FD(), unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	}
	if n > largeBatch {
		// The kernel doubles the number and wants room beyond the bytes. Without the privilege the send says EMSGSIZE.
		_ = unix.SetsockoptInt(c.socket.FD(), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n+4096)
	}
	return c.commit(b, generation)
}

// listPorts lists the elements of all port mappings.
func (c *Conn) listPorts() ([]element, error) {
	return c.listIn(func() (sets []set, err error) {
		err = c.setNames(func(name string) {
			if s, ok := portSet(name); ok {
				sets = append(sets, s)
			}
		})
		return sets, err
	})
}

// CheckPorts says whether a publication, and the rules that its elements are for, are in the ruleset as Publish made
// them. Errors: *MissingError for the first that is missing or different.
func (c *Conn) CheckPorts(p Publication) error {
	if err := p.check(); err != nil {
		return err
	}
	es := p.elements()
	found, _, err := c.lookUp(es)
	if err != nil {
		return err
	}
	for i, e := range es {
		missing := &MissingError{Owner: p.Owner, What: "element " + e.set.table.String() + " " + e.set.name + " " + e.keyText()}
		switch f := found[i]; {
		case f == nil:
			return missing
		case !f.isAsWanted(e):
			missing.Found = f.String()
			return missing
		}
	}
	if len(es) == 0 {
		return nil
	}
	return c.checkPortRules(&p)
}

func (c *Conn) checkPortRules(p *Publication) error {
	for _, r := range p.ruleset().families {
		for _, want := range r.chains() {
			what, err := c.differs(want.chain())
			if err != nil {
				return err
			}
			if what != "" {
				return &MissingError{Owner: p.Owner, What: what + " " + masqueradeTable.String() + " " + want.name}
			}
		}
	}
	return nil
}
