// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"cmp"
	"errors"
	"iter"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// A Published is one port mapping that is in the ruleset.
type Published struct {
	Owner   Owner // a short one ([Owner.Short])
	Mapping PortMapping
	Target  netip.AddrPort // the container's address and port
	Note    string         // of the address, see [Publication]
}

// Published ranges over the port mappings of a network's containers ("" is all networks), sorted by owner and port.
// Mappings under conditions are among them. An error ends it.
func (c *Conn) Published(network string) iter.Seq2[Published, error] {
	return func(yield func(Published, error) bool) {
		es, err := c.listPorts()
		if err != nil {
			yield(Published{}, err)
			return
		}
		for _, p := range published(es) {
			if network != "" && p.Owner.Network != (Owner{Network: network}).Short().Network {
				continue
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// published decodes the mappings among elements.
func published(es []element) []Published {
	var ps []Published
	notes := map[string]string{}
	at := func(e element, a netip.Addr) string { return e.owner() + " " + a.String() }
	for _, e := range es {
		if a, _, ok := e.address(); ok {
			notes[at(e, a.Addr())] = e.note()
		}
	}
	for _, e := range es {
		o, ok := parseOwner(e.owner())
		m, target, ok2 := e.mapping()
		if ok && ok2 {
			ps = append(ps, Published{o, m, target, notes[at(e, target.Addr())]})
		}
	}
	slices.SortFunc(ps, func(a, b Published) int {
		return cmp.Or(cmp.Compare(a.Owner.String(), b.Owner.String()), a.Target.Addr().Compare(b.Target.Addr()),
			cmp.Compare(a.Mapping.Protocol, b.Mapping.Protocol), cmp.Compare(a.Mapping.HostPort, b.Mapping.HostPort), a.Mapping.HostIP.Compare(b.Mapping.HostIP))
	})
	return ps
}

// Unpublish takes an owner's port mappings out of the ruleset and returns them. Addresses, ports and conditions, the same
// as at Publish, say where to look: what is found there goes only if it's this owner's. The address's element
// says how many mappings there are, so that any that weren't named are searched for, which takes a listing of all
// mappings; so does a publication without addresses. What isn't there is no error.
//
// It also removes what the CNI project's portmap plugin left for this container, in nftables or in iptables-nft's tables.
func (c *Conn) Unpublish(p Publication) ([]Published, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	for range maxTries {
		removed, err := c.unpublish(&p)
		if err == nil {
			return removed, c.unpublishReference(p.Owner)
		}
		// ENOENT: in kernels older than generations somebody else may have been faster.
		if !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return nil, err
		}
	}
	return nil, errContended
}

func (c *Conn) unpublish(p *Publication) ([]Published, error) {
	found, generation, err := c.lookUp(p.keys())
	if err != nil {
		return nil, err
	}
	owner := p.Owner.comment()
	own := ownedBy(dense(found), owner)
	if len(p.Addrs) == 0 || !complete(own, p.Addrs) {
		all, err := c.listPorts()
		if err != nil {
			return nil, err
		}
		own = ownedBy(all, owner)
	}
	// Grouped by their sets, they take few messages.
	slices.SortFunc(own, func(a, b element) int { return cmp.Compare(a.set.name, b.set.name) })
	var b batch
	b.delete(own)
	return published(own), c.commitLarge(&b, &generation)
}

// keys returns all elements that the publication may have made, with its addresses, whatever else it says.
func (p *Publication) keys() []element {
	var es []element
	for _, a := range p.Addrs {
		f, key := familyOf(a.Addr()), a.Addr().AsSlice()
		es = append(es, element{set: f.published(), key: key}, element{set: f.masqAll(), key: key}, element{set: f.hairpin(a), key: key})
		for _, m := range p.Ports {
			if m.in(f) {
				es = append(es, m.element(f, p.suffix(f)))
			}
		}
	}
	return es
}

// complete says whether one owner's elements are all that their addresses, which were looked for, say there are.
func complete(own []element, addrs []netip.Prefix) bool {
	have, want := map[netip.Addr]int{}, map[netip.Addr]int{}
	for _, e := range own {
		if _, target, ok := e.mapping(); ok {
			have[target.Addr()]++
		}
		if a, n, ok := e.address(); ok {
			want[a.Addr()] = n
			if !slices.Contains(addrs, a) {
				return false // the set of another subnet has it
			}
		}
	}
	for a, n := range have {
		if want[a] != n {
			return false
		}
	}
	for a, n := range want {
		if have[a] != n {
			return false
		}
	}
	return true
}

// UnpublishExcept takes out the port mappings of a network, except those of the valid owners, and returns them:
// garbage collection.
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
	slices.SortFunc(es, func(a, b element) int { return cmp.Compare(a.set.name, b.set.name) })
	for some := range slices.Chunk(es, removeAtOnce) {
		if err := c.remove(some); err != nil {
			return nil, err
		}
	}
	return published(es), nil
}

// referencePorts are the tables of the CNI project's portmap plugin, and its chains whose rules say whose they are.
var (
	referencePorts      = [...]table{{unix.NFPROTO_IPV4, "cni_hostport"}, {unix.NFPROTO_IPV6, "cni_hostport"}}
	referencePortChains = [...]string{"hostports", "hostip_hostports", "masquerading"}
)

// unpublishReference removes the reference's rules for a container. They're commented with its ID alone; iptables' are in a
// chain of the container's.
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
