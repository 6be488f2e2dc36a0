// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"cmp"
	"errors"
	"iter"
	"net/netip"
	"slices"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// A Published is one port mapping that is in the ruleset.
type Published struct {
	Owner   Owner // a short one ([Owner.Short])
	Mapping PortMapping
	Target  netip.AddrPort // the container's address and port
	Note    string         // of the address, see [Publication]
	// Waiting says that another attachment of the container has the port until it's unpublished
	// there.
	Waiting bool
}

// Published ranges over the port mappings of a network's containers ("" is all networks), sorted by
// owner and port. Mappings under conditions are among them. An error ends it: [*Error], or
// [ErrInterrupted] if other programs' changes kept overtaking the listing.
func (c *Conn) Published(network string) iter.Seq2[Published, error] {
	return listing(func() ([]Published, error) {
		es, err := c.listPorts()
		return slices.DeleteFunc(published(es), func(p Published) bool { return !p.Owner.in(network) }), err
	})
}

// published decodes the mappings among elements.
func published(es []element) []Published {
	var ps []Published
	notes := map[string]string{}
	whose := func(e element, a netip.Addr) string { return e.owner() + " " + a.String() }
	for _, e := range es {
		if v, ok := e.published(); ok {
			notes[whose(e, v.Addr())] = v.note
		}
	}
	for _, e := range es {
		o, ok := parseOwner(e.owner())
		at, to, ok2 := e.mapping()
		if ok && ok2 {
			ps = append(ps, Published{o, at.mapping(to.Port()), to, notes[whose(e, to.Addr())], e.isStandby()})
		}
	}
	order.By(ps, func(a, b Published) int {
		return cmp.Or(cmp.Compare(a.Owner.String(), b.Owner.String()), a.Target.Addr().Compare(b.Target.Addr()),
			cmp.Compare(a.Mapping.Protocol, b.Mapping.Protocol), cmp.Compare(a.Mapping.HostPort, b.Mapping.HostPort), a.Mapping.HostIP.Compare(b.Mapping.HostIP))
	})
	return ps
}

// Unpublish takes an owner's port mappings out of the ruleset and returns them. Addresses, ports
// and conditions, the same as for Publish, say where to look: an element found there is removed
// only if it belongs to this owner. The address's element counts the mappings, so unnamed ones are
// searched for. That takes a listing of all mappings. A publication without addresses takes one
// too. It is not an error if nothing is found.
//
// It also removes the rules that the CNI project's portmap plugin left for this container, in
// nftables or in iptables-nft's tables.
func (c *Conn) Unpublish(p Publication) ([]Published, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	careful := len(p.Addrs) == 0
	for range maxTries {
		removed, err := c.unpublish(&p, careful)
		if err == errLives {
			return nil, nil
		}
		if err == nil {
			return removed, c.unpublishReference(p.Owner)
		}
		// ENOENT: an element that should follow isn't there. In kernels older than generations
		// another program may have been faster.
		careful = careful || hasErrno(err, unix.ENOENT)
		if !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return nil, err
		}
	}
	return nil, ErrInterrupted
}

// unpublish looks where the publication says. It looks everywhere if that isn't all, or if careful.
func (c *Conn) unpublish(p *Publication, careful bool) ([]Published, error) {
	keys, sets := p.keys(), p.lengthSets()
	ms := lookUps(keys)
	for _, s := range sets {
		ms = append(ms, getSet(s))
	}
	replies, generation, err := c.askIn(ms)
	if err != nil {
		return nil, err
	}
	found, err := decodeLookUps(keys, replies)
	if err != nil {
		return nil, err
	}
	owner := p.Owner.comment()
	var b batch
	own, ok := complete(ownedBy(dense(found), owner), p.Addrs)
	last := !ok || careful // not the usual way, so it may look
	if last {
		all, err := c.listPorts()
		if err != nil {
			return nil, err
		}
		own = ownedBy(all, owner)
		sortBySet(own)
		b.delete(own)
		handOver(&b, all, own)
	} else {
		sortBySet(own)
		b.delete(own)
	}
	last = last || slices.ContainsFunc(own, func(e element) bool { return e.set.role().hasHash() && e.set.role().arg != "" })
	for i, r := range replies[len(keys):] {
		n, counted := memberCount(r.data)
		last = last || counted && n > 0 && n == countIn(own, sets[i])
	}
	if c.spares(p.Owner) {
		return nil, errLives
	}
	if err = c.commitLarge(&b, &generation); err == nil && last {
		err = c.tidy(sparing(p.Addrs))
	}
	return published(own), err
}

// keys returns the elements that tell the whole publication, whatever else it says.
func (p *Publication) keys() []element {
	var es []element
	for _, a := range p.Addrs {
		f := familyOf(a.Addr())
		g := p.group(f)
		es = append(es, element{set: f.published(), key: a.Addr().AsSlice()})
		for _, m := range p.Ports {
			if m.in(f) {
				es = append(es, m.place(g).element())
			}
		}
	}
	return es
}

// lengthSets returns the sets, of subnets of a length, that the publication may be the last member
// of.
func (p *Publication) lengthSets() (sets []set) {
	for _, a := range p.Addrs {
		if s, ok := p.address(a, 0).set(); ok && s.role().hasLength() {
			sets = append(sets, s)
		}
	}
	return sets
}

// UnpublishExcept takes out the port mappings of a network, except those of the valid owners, and
// returns them: garbage collection.
func (c *Conn) UnpublishExcept(network string, valid []Owner) ([]Published, error) {
	if err := (Owner{network, "-", "-"}).check(); err != nil {
		return nil, err
	}
	keep := map[Owner]bool{}
	for _, o := range valid {
		keep[o.Short()] = true
	}
	short := Owner{Network: network}.Short().Network
	es, err := c.listPorts()
	if err != nil {
		return nil, err
	}
	es = slices.DeleteFunc(es, func(e element) bool {
		o, ok := parseOwner(e.owner())
		return !ok || o.Network != short || keep[o]
	})
	removed := published(es)
	awaited := awaitedOwners(es)
	for chunk := range slices.Chunk(unawaited(es), removeAtOnce) {
		more, err := c.removeUnawaited(chunk, addressesFor(chunk, es))
		if err != nil {
			return nil, err
		}
		awaited = append(awaited, more...)
	}
	for _, o := range awaited {
		if _, err := c.Unpublish(Publication{Owner: o}); err != nil {
			return nil, err
		}
	}
	return removed, c.Tidy()
}

// awaitedOwners returns the owners of those elements for whose ports others wait.
func awaitedOwners(es []element) (list []Owner) {
	for _, e := range es {
		if v, ok := e.published(); ok && v.awaited {
			if o, ok := parseOwner(e.owner()); ok && !slices.Contains(list, o) {
				list = append(list, o)
			}
		}
	}
	return list
}

// addressesFor returns those of all published addresses whose owners have one of some elements.
func addressesFor(some, all []element) (addrs []element) {
	owners := map[string]bool{}
	for _, e := range some {
		owners[e.owner()] = true
	}
	for _, e := range all {
		if _, ok := e.published(); ok && owners[e.owner()] {
			addrs = append(addrs, e)
		}
	}
	return addrs
}

// unawaited leaves out the elements of these, and sorts the others by their sets.
func unawaited(es []element) []element {
	owners := awaitedOwners(es)
	rest := slices.DeleteFunc(slices.Clone(es), func(e element) bool {
		o, _ := parseOwner(e.owner())
		return slices.Contains(owners, o)
	})
	sortBySet(rest)
	return rest
}

// referencePorts are the tables of the CNI project's portmap plugin, and its chains whose rules
// name their owner.
var (
	referencePorts      = [...]table{{unix.NFPROTO_IPV4, "cni_hostport"}, {unix.NFPROTO_IPV6, "cni_hostport"}}
	referencePortChains = [...]string{"hostports", "hostip_hostports", "masquerading"}
)

// unpublishReference removes the reference's rules for a container. Their comment is only the
// container's ID. Those of iptables are in a chain of the container.
func (c *Conn) unpublishReference(o Owner) error {
	var chains []chain
	for _, t := range referencePorts {
		for _, name := range referencePortChains {
			chains = append(chains, chain{table: t, name: name})
		}
	}
	dnat := iptablesChain(referenceDNATFor, o)
	for _, t := range natTables {
		chains = append(chains, chain{table: t, name: dnat})
	}
	present, err := c.present(chains)
	for _, p := range present {
		if p.name == dnat {
			return errors.Join(err, c.unhook(referenceDNAT, dnat, func([]byte) bool { return true }))
		}
		err = errors.Join(err, c.deleteRules(p.table, p.name, func(comment string) bool { return comment == o.ContainerID }))
	}
	return err
}
