// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/mdlayher/netlink"
	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// An Allowed is one address that is in the ruleset for an [Allowance].
type Allowed struct {
	Owner     Owner // a short one ([Owner.Short])
	Addr      netip.Addr
	Delegated bool // as in the Allowance
}

// Allowed ranges over the allowed addresses of a network's containers ("" is all networks), sorted
// by owner and address. An error ends it: [*Error], or [ErrInterrupted] if other programs' changes
// kept overtaking the listing.
func (c *Conn) Allowed(network string) iter.Seq2[Allowed, error] {
	return listing(func() ([]Allowed, error) {
		es, err := c.listIn(func() ([]set, error) { return memberSets(), nil })
		return slices.DeleteFunc(allowedBy(es), func(a Allowed) bool { return !a.Owner.in(network) }), err
	})
}

// allowedBy decodes elements.
func allowedBy(es []element) []Allowed {
	var list []Allowed
	for _, e := range es {
		owner, ok := parseOwner(e.owner())
		addr, ok2 := netip.AddrFromSlice(e.key)
		if ok && ok2 && slices.Contains(memberSets(), e.set) {
			list = append(list, Allowed{owner, addr, e.set == noted4 || e.set == noted6})
		}
	}
	order.By(list, func(a, b Allowed) int {
		return cmp.Or(cmp.Compare(a.Owner.String(), b.Owner.String()), a.Addr.Compare(b.Addr))
	})
	return list
}

// Revoke takes an owner's addresses out of the ruleset. If tell isn't nil, it's called with the
// delegated ones before they are removed, possibly twice with the same. If it returns an error,
// they stay, and Revoke returns that. The addresses say where to look: an element found there is
// removed only if it belongs to this owner. Without addresses, Revoke looks through all elements.
// It is not an error if nothing is found. A bridge's policy stays, for its other containers, until
// [Conn.RevokeExcept] or the next [Conn.Allow] finds it unused.
//
// It also removes the rules that the CNI project's firewall plugin made in iptables-nft's tables
// for these addresses.
func (c *Conn) Revoke(o Allowance, tell func([]Allowed) error) error {
	if err := o.check(); err != nil {
		return err
	}
	for range maxTries {
		old, err := c.revoke(&o, tell)
		if err == errLives {
			return nil
		}
		if err == nil && old {
			err = c.revokeReference(o.Addrs)
		}
		// ENOENT: in kernels older than generations another program may have been faster.
		if !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return err
		}
	}
	return ErrInterrupted
}

// revoke reports whether CNI-FORWARD has more rules than ours.
func (c *Conn) revoke(o *Allowance, tell func([]Allowed) error) (old bool, err error) {
	var es []element
	for _, delegated := range []bool{false, true} {
		o.Delegated = delegated
		es = append(es, o.elements()...)
	}
	ms := lookUps(es)
	for _, f := range o.families() {
		ms = append(ms, getChain(filterTable(f), cniForward))
	}
	replies, generation, err := c.askIn(ms)
	if err != nil {
		return false, err
	}
	for _, r := range replies[len(es):] {
		old = old || r.errno == 0 && chainUse(r.data) != usualUse
	}
	found, err := decodeLookUps(es, replies)
	if err != nil {
		return false, err
	}
	own := dense(found)
	if len(o.Addrs) == 0 {
		if own, err = c.listIn(func() ([]set, error) { return memberSets(), nil }); err != nil {
			return false, err
		}
	}
	own = ownedBy(own, o.Owner.comment())
	if c.spares(o.Owner) {
		return false, errLives
	}
	if err := tellDelegated(own, tell); err != nil {
		return false, err
	}
	var b batch
	b.delete(own)
	return old, c.commit(&b, &generation)
}

// tellDelegated reports the elements whose way another program opens.
func tellDelegated(es []element, tell func([]Allowed) error) error {
	list := slices.DeleteFunc(allowedBy(es), func(o Allowed) bool { return !o.Delegated })
	if tell == nil || len(list) == 0 {
		return nil
	}
	return tell(list)
}

// RevokeExcept is garbage collection: it removes all addresses of a network, except those of the
// valid owners, and reports them as Revoke does. If none is left, it also removes the policies that
// the network gave to bridges. While another network has one, whose container may have found its
// policy there, a policy stays for as long as its bridge.
func (c *Conn) RevokeExcept(network string, valid []Owner, tell func([]Allowed) error) error {
	if err := (Owner{network, noLink, noLink}).check(); err != nil {
		return err
	}
	keep := map[Owner]bool{}
	for _, o := range valid {
		keep[o.Short()] = true
	}
	short := Owner{Network: network}.Short().Network
	all, err := c.listIn(func() ([]set, error) { return c.there(firewallSets()) })
	if err != nil {
		return err
	}
	var dead, policies []element
	lives, others := false, false
	for _, e := range all {
		o, ok := parseOwner(e.owner())
		switch {
		case !ok:
		case o.Network != short:
			others = others || o.ContainerID != noLink
		case o.ContainerID == noLink:
			policies = append(policies, e)
		case keep[o]:
			lives = true
		default:
			dead = append(dead, e)
		}
	}
	for _, e := range policies {
		if !lives && (!others || c.lacksLink(e.key[:unix.IFNAMSIZ])) {
			dead = append(dead, e)
		}
	}
	if err := tellDelegated(dead, tell); err != nil {
		return err
	}
	order.By(dead, func(a, b element) int { return cmp.Compare(a.set.name, b.set.name) })
	for chunk := range slices.Chunk(dead, removeAtOnce) {
		if err := c.remove(chunk); err != nil {
			return err
		}
	}
	return nil
}

// lacksLink reports whether the Conn's namespace has no link of a name. A netlink socket passes
// device requests on (sock_ioctl, net/socket.c).
func (c *Conn) lacksLink(name []byte) bool {
	r, err := unix.NewIfreq(string(bytes.TrimRight(name, "\x00")))
	return err == nil && unix.IoctlIfreq(c.socket.FD(), unix.SIOCGIFINDEX, r) == unix.ENODEV
}

// CheckAllowance reports whether an allowance, and the rules that it's for, are in the ruleset as
// Allow made them. It changes nothing. Errors: *MissingError for the first that is missing or
// different.
func (c *Conn) CheckAllowance(o Allowance) error {
	if err := o.check(); err != nil {
		return err
	}
	return c.steadily(func() (uint32, error) {
		s, err := c.firewallState(&o, o.elements(), o.policy())
		if err != nil {
			return 0, err
		}
		return s.generation, c.checkState(&o, &s)
	})
}

// checkState compares what concerns an allowance with what should be there.
func (c *Conn) checkState(o *Allowance, s *firewallState) error {
	missing := func(what string) error { return &MissingError{Owner: o.Owner, What: what} }
	es := o.elements()
	for i, e := range es {
		if f := s.addrs[i]; f == nil || f.comment != e.comment {
			err := &MissingError{Owner: o.Owner, What: "element " + e.set.table.String() + " " + e.set.name + " " + e.keyText()}
			if f != nil {
				err.Found = f.String()
			}
			return err
		}
	}
	// Another network's policy may be stricter.
	if o.Ingress != IngressOpen && s.policy[0] == nil || o.Ingress == IngressIsolated && s.policy[1] != nil {
		return missing("ingress policy " + o.Ingress.String() + " of " + o.Bridge)
	}
	for _, want := range firewallChains() {
		switch what, err := c.differs(want.chain()); {
		case err != nil:
			return err
		case what != "":
			return missing(what + " " + masqueradeTable.String() + " " + want.name)
		}
	}
	for _, f := range o.families() {
		if err := c.checkDetour(o, f); err != nil {
			return err
		}
	}
	return nil
}

// checkDetour looks at iptables' table of a family.
func (c *Conn) checkDetour(o *Allowance, f portFamily) error {
	t := filterTable(f)
	replies, err := c.ask([]netlink.Message{getChain(t, forwardChain)})
	if err != nil || o.Delegated || replies[0].errno == 0 && !isForwardHook(replies[0].data) {
		return err
	}
	d, err := c.detour(f, o.adminChain())
	switch {
	case err != nil || d.whole():
		return err
	case !d.forward:
		return &MissingError{Owner: o.Owner, What: "chain " + t.String() + " " + forwardChain}
	case !d.jump:
		return &MissingError{Owner: o.Owner, What: "jump from chain " + t.String() + " " + forwardChain + " to " + cniForward}
	case !d.admin:
		return &MissingError{Owner: o.Owner, What: "jump from chain " + t.String() + " " + cniForward + " to " + o.adminChain()}
	}
	return &MissingError{Owner: o.Owner, What: "rule of chain " + t.String() + " " + cniForward}
}

// revokeReference removes the reference's rules for addresses, which don't name their owner.
func (c *Conn) revokeReference(addrs []netip.Addr) error {
	for _, a := range addrs {
		t := filterTable(familyOf(a))
		var b batch
		err := c.rules(t, cniForward, func(r listedRule) {
			if acceptsAddr(r.exprs, a) {
				b.deleteRule(t, cniForward, r.handle)
			}
		})
		if err == nil {
			err = c.commit(&b, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// acceptsAddr reports whether a rule accepts packets from or to one address.
func acceptsAddr(exprs []byte, a netip.Addr) bool {
	addressed, accepts := false, false
	expressions(exprs, func(name string, data []byte) {
		switch name {
		case "cmp":
			d, _ := attribute(data, unix.NFTA_CMP_DATA)
			value, _ := attribute(d, unix.NFTA_DATA_VALUE)
			addressed = addressed || bytes.Equal(value, a.AsSlice())
		case "immediate":
			code, _, ok := verdict(data)
			accepts = ok && code == nfAccept
		}
	})
	return addressed && accepts
}
