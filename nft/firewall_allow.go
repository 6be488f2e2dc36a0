// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"golang.org/x/sys/unix"

	"github.com/mdlayher/netlink"
)

// firewallState is the part of the ruleset that concerns an allowance.
type firewallState struct {
	generation uint32
	built      bool       // our chains are there, with as many rules as they should have
	addrs      []*element // one for each address, nil if it isn't there
	policy     []*element
	repair     []portFamily // whose detours must be looked at
}

// Allow opens the way for a container. In the common case this is one send of questions and one
// transaction of elements, whatever the number of containers. An address has one owner, the last
// that was allowed. Allowing the same again changes nothing but the ruleset's generation, see
// [Conn.Spare].
//
// A bridge's policy is that of its network's last Allowance. If networks share a bridge, the
// strictest policy counts for as long as its network has containers.
//
// Errors: [*Error] for a change that the kernel refused, [*UnsupportedError] for a feature that it
// lacks, [ErrInterrupted].
func (c *Conn) Allow(o Allowance) error {
	if err := o.check(); err != nil {
		return err
	}
	es, policy := o.elements(), o.policy()
	for range maxTries {
		s, err := c.firewallState(&o, es, policy)
		if err != nil {
			return err
		}
		var b batch
		if !s.built {
			b.buildFirewall()
		}
		plain := take(&b, es, s.addrs) && s.built && len(s.repair) == 0
		none, err := c.setPolicy(&b, &o, s.policy)
		if err != nil {
			return err
		}
		for _, f := range s.repair {
			d, err := c.detour(f, o.adminChain())
			if err != nil {
				return err
			}
			if !d.whole() {
				b.buildDetour(f, o.adminChain(), d)
			}
		}
		if b.empty() && len(es) > 0 {
			b.renew(es[0])
		}
		// A transaction that only adds elements, and counts on none, holds whatever other programs
		// change meanwhile.
		generation := &s.generation
		if plain && none {
			generation = nil
		}
		err = c.commit(&b, generation)
		if !hasErrno(err, unix.ERESTART, unix.EEXIST, unix.EBUSY) && !(s.built && hasErrno(err, unix.ENOENT)) {
			return lacking(err)
		}
	}
	return ErrInterrupted
}

// take adds those elements that don't exist, and takes over those of other owners. It returns
// whether none existed.
func take(b *batch, es []element, found []*element) bool {
	plain := true
	for i, e := range es {
		f := found[i]
		plain = plain && f == nil
		if f != nil && f.comment == e.comment {
			continue
		}
		if f != nil {
			b.delete([]element{*f})
		}
		b.create([]element{e})
	}
	return plain
}

// firewallState asks for everything that Allow must know, at once.
func (c *Conn) firewallState(o *Allowance, es, policy []element) (s firewallState, err error) {
	chains := firewallChains()
	var ms []netlink.Message
	for _, c := range chains {
		ms = append(ms, getChain(masqueradeTable, c.name))
	}
	ms = append(ms, lookUps(es)...)
	ms = append(ms, lookUps(policy)...)
	families := o.families()
	if o.Delegated {
		families = nil
	}
	for _, f := range families {
		ms = append(ms, detourQuestions(f, o.adminChain())...)
	}
	replies, generation, err := c.askIn(ms)
	if err != nil {
		return s, err
	}
	s.generation, s.built = generation, true
	for i, c := range chains {
		s.built = s.built && replies[i].errno == 0 && chainUse(replies[i].data) == uint32(len(c.rules))
	}
	replies = replies[len(chains):]
	if s.addrs, err = decodeLookUps(es, replies); err != nil {
		return s, err
	}
	replies = replies[len(es):]
	if s.policy, err = decodeLookUps(policy, replies); err != nil {
		return s, err
	}
	replies = replies[len(policy):]
	for i, f := range families {
		if needsDetour(replies[3*i:], o.adminChain()) {
			s.repair = append(s.repair, f)
		}
	}
	return s, nil
}

// setPolicy gives the bridge the policy that it should have, and returns whether it had none and
// needs none. Otherwise the transaction counts on what was found: another network may take over the
// policy of one that has no containers yet.
func (c *Conn) setPolicy(b *batch, o *Allowance, found []*element) (none bool, err error) {
	policy, have := o.policy(), IngressOpen
	if len(policy) == 0 {
		return true, nil
	}
	if found[0] != nil {
		have = IngressIsolated
		if found[1] != nil {
			have = IngressSameBridge
		}
	}
	if have == IngressOpen && o.Ingress == IngressOpen {
		return true, nil
	}
	if have != IngressOpen && found[0].comment != policy[0].comment && have >= o.Ingress {
		holder, ok := parseOwner(found[0].owner())
		lives, err := c.hasMembers(holder.Network)
		if err != nil || ok && lives {
			return false, err // another network's, and as strict
		}
	}
	want := wanted(policy, o.Ingress)
	for i, e := range policy {
		f := found[i]
		if f != nil && i < len(want) && f.comment == e.comment {
			continue
		}
		if f != nil {
			b.delete([]element{*f})
		}
		if i < len(want) {
			b.create([]element{e})
		}
	}
	return false, nil
}

// hasMembers reports whether any container of a network has an allowance. It lists them all.
func (c *Conn) hasMembers(network string) (bool, error) {
	es, err := c.listIn(func() ([]set, error) { return memberSets(), nil })
	for _, e := range es {
		if o, ok := parseOwner(e.owner()); ok && o.Network == network {
			return true, err
		}
	}
	return false, err
}

func memberSets() []set { return []set{open4, open6, noted4, noted6} }
