// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A PortTakenError is a port that another owner has. It is fs.ErrExist.
type PortTakenError struct {
	Owner   Owner       // the owner that asked
	Mapping PortMapping // the host's port that it asked for; ContainerPort is 0
	Holder  Owner       // its owner; the zero Owner is an element of another program
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

// Publish maps ports, in one transaction however many there are. In the common case it asks whether
// the rules exist, and sends the elements. Its cost doesn't depend on the number of ports that
// others have.
//
// Publishing again replaces the owner's mappings, and always changes the ruleset's generation, see
// [Conn.Spare]. A container's address has one owner, the last to publish it. The mappings of an
// earlier owner, which is dead by then, are removed. If another container has a port, nothing changes
// and the error is a [*PortTakenError]. If another attachment of the same container has it, the port
// stays with that one and leads here once it's unpublished there. Publish returns such ports.
//
// Other errors: [*Error] for a change that the kernel refused, [*UnsupportedError] for a feature
// that it lacks, [ErrInterrupted].
func (c *Conn) Publish(p Publication) (waiting []PortTakenError, err error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	es := p.elements()
	if len(es) == 0 {
		return nil, nil
	}
	// A refusal would tell it too, and costs 10 ms.
	build, err := c.lacksRules(&p)
	if err != nil {
		return nil, err
	}
	for range maxTries {
		if build {
			if err := c.buildFor(&p, es); err != nil {
				return nil, err
			}
		}
		var b batch
		b.create(es)
		err := c.commitLarge(&b, nil)
		if hasErrno(err, unix.EEXIST, unix.EBUSY) {
			waiting, err = c.settle(&p, es)
		}
		if build = hasErrno(err, unix.ENOENT); !build && !hasErrno(err, unix.ERESTART) {
			return waiting, err
		}
	}
	return nil, ErrInterrupted
}

// buildFor builds what the publication needs, unless it will be refused.
func (c *Conn) buildFor(p *Publication, es []element) error {
	found, _, err := c.lookUp(es)
	if err == nil {
		err = c.refusal(p.settle(es, found))
	}
	if err != nil {
		return err
	}
	return c.build(p.needs(), p.Addrs)
}

// lacksRules asks for those sets that may be missing although others exist. It also asks whether a
// chain was emptied, as "nft flush table" does: elements then find their sets, but no packet finds
// them.
func (c *Conn) lacksRules(p *Publication) (bool, error) {
	var ms []netlink.Message
	for _, a := range p.Addrs {
		g := p.group(familyOf(a.Addr()))
		if s, ok := p.address(a, 0).set(); ok {
			ms = append(ms, getSet(g.snat(false, p.bit())), getSet(s))
		} else {
			ms = append(ms, getSet(g.ports(TCP, false)))
		}
	}
	sets, used := len(ms), p.used()
	for _, u := range used {
		ms = append(ms, getChain(masqueradeTable, u.chain))
	}
	replies, err := c.ask(ms)
	if err != nil {
		return false, err
	}
	for i, u := range used {
		if r := replies[sets+i]; r.errno == 0 && chainUse(r.data) < u.least {
			return true, nil
		}
	}
	return slices.ContainsFunc(replies, func(r reply) bool { return r.errno != 0 }), nil
}

// A usage is the least number of times that a chain is used, by its own rules and by those that
// jump to it, unless it's empty.
type usage struct {
	chain string
	least uint32
}

// used returns the chains that lead to the publication's mappings.
func (p *Publication) used() []usage {
	list := []usage{{preroutePorts, 1}, {outputPorts, 1}, {portsChain, 2 + 1}, {localnetChain, 1}}
	for i, a := range p.Addrs {
		f := familyOf(a.Addr())
		if _, ok := p.address(a, 0).set(); ok && i == 0 {
			list = append(list, usage{masqPorts, 1})
		}
		if g := p.group(f); g.hash != "" {
			n := uint32(len(alternatives(p.conditions(f))))
			list = append(list, usage{g.chainName(whenChain), 1 + n}, usage{g.chainName(portsChain), n + 1})
		}
	}
	return list
}

// present returns those of chains that exist, by their table and name.
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

// id names an element's place.
func (e *element) id() string { return e.set.name + " " + string(e.key) }

const (
	// largeBatch is a socket's default send buffer (net.core.wmem_default, at least 160 KiB), less
	// some room.
	largeBatch = 128 << 10
	// quotedBatch is the size from which refusals that quote the refused messages wouldn't fit the
	// receive buffer together.
	quotedBatch = 32 << 10
)

// commitLarge is commit for a transaction that may be larger than a socket sends by default.
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
		// The kernel doubles the number and needs room beyond the bytes. Without the privilege the
		// send fails with EMSGSIZE.
		_ = unix.SetsockoptInt(c.socket.FD(), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n+4096)
	}
	return c.commit(b, generation)
}
