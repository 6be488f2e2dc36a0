// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"cmp"
	"encoding/binary"
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// Senders ranges over the senders of a network ("" is all networks), sorted by owner, read from the
// elements' comments. Owners are short ones ([Owner.Short]). Elements that another program made, or
// whose comment isn't an owner, are left out. An error ends it: [*Error], or [ErrInterrupted] if
// other programs' changes kept overtaking the listing.
func (c *Conn) Senders(network string) iter.Seq2[Sender, error] {
	return listing(func() ([]Sender, error) {
		es, err := c.list()
		return senders(es, network), err
	})
}

// listing ranges over what list returns, or gives its error.
func listing[T any](list func() ([]T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := list()
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for _, one := range all {
			if !yield(one, nil) {
				return
			}
		}
	}
}

// senders puts elements together by their owner.
func senders(es []element, network string) []Sender {
	byOwner := map[Owner]*Sender{}
	for _, e := range es {
		o, ok := parseOwner(e.owner())
		if !ok || !o.in(network) {
			continue
		}
		a := byOwner[o]
		if a == nil {
			a = &Sender{Owner: o}
			byOwner[o] = a
		}
		if g, ok := e.guard(); ok && e.set == guarded {
			a.Guard = &g
		}
		if p, ok := e.prefix(); ok {
			a.Masquerade = append(a.Masquerade, p)
		}
		if o, ok := netip.AddrFromSlice(e.data); ok {
			a.Outbound[pick(familyOf(o), 0, 1)] = o
		}
	}
	var as []Sender
	for _, a := range byOwner {
		order.By(a.Masquerade, func(p, q netip.Prefix) int { return p.Addr().Compare(q.Addr()) })
		as = append(as, *a)
	}
	order.By(as, func(a, b Sender) int { return cmp.Compare(a.Owner.String(), b.Owner.String()) })
	return as
}

// DetachOwner removes all elements of these owners as senders. It looks through all elements, so
// call [Conn.Detach] if the addresses are known. It is not an error if nothing is found.
func (c *Conn) DetachOwner(owners ...Owner) error {
	short := map[Owner]bool{}
	hashes := map[string]bool{}
	for _, o := range owners {
		if err := o.check(); err != nil {
			return err
		}
		short[o.Short()] = true
		hashes[referenceHash(o)] = true
	}
	err := c.purge(func(o Owner) bool { return short[o] }, func(hash string) bool { return hashes[hash] })
	for _, o := range owners {
		// Detaching nothing asks only for the reference's chains.
		err = errors.Join(err, c.Detach(Sender{Owner: o}))
	}
	return err
}

// DetachExcept removes all senders of a network, except those of the valid owners: garbage
// collection. It treats the masquerade rules of the CNI project's own plugins in the same way.
func (c *Conn) DetachExcept(network string, valid []Owner) error {
	if err := (Owner{network, "-", "-"}).check(); err != nil {
		return err
	}
	keep := map[Owner]bool{}
	keepHashes := map[string]bool{}
	for _, o := range valid {
		keep[o.Short()] = true
		keepHashes[referenceHash(o)] = true
	}
	short := Owner{Network: network}.Short().Network
	prefix := hash16(network) + "-"
	return c.purge(
		func(o Owner) bool { return o.Network == short && !keep[o] },
		func(hash string) bool { return strings.HasPrefix(hash, prefix) && !keepHashes[hash] })
}

// purge takes out the elements of chosen owners, and the reference's masquerade rules with a chosen
// hash.
func (c *Conn) purge(chosen func(Owner) bool, chosenHash func(string) bool) error {
	es, err := c.list()
	if err != nil {
		return err
	}
	es = slices.DeleteFunc(es, func(e element) bool {
		o, ok := parseOwner(e.owner())
		return !ok || !chosen(o)
	})
	order.By(es, byComment)
	for chunk := range slices.Chunk(es, removeAtOnce) {
		if err := c.remove(chunk); err != nil {
			return err
		}
	}
	err = c.deleteRules(referenceMasquerade, referenceChecks, func(comment string) bool {
		hash, _, _ := strings.Cut(comment, ",")
		return chosenHash(hash)
	})
	return errors.Join(err, c.Tidy())
}

// byComment orders elements by their owners.
func byComment(x, y element) int { return strings.Compare(x.comment, y.comment) }

// removeAtOnce weighs the price of a transaction against the time for which the ruleset must stay
// unchanged for it.
const removeAtOnce = 64

// remove deletes elements that are still the same as when they were listed.
func (c *Conn) remove(es []element) error {
	_, err := c.removeUnawaited(es, nil)
	return err
}

// removeUnawaited is remove that leaves alone the owners of those published addresses for whose ports
// others wait by now, and returns them.
func (c *Conn) removeUnawaited(es, addrs []element) (awaited []Owner, err error) {
	for range maxTries {
		found, generation, err := c.lookUp(slices.Concat(es, addrs))
		if err != nil {
			return nil, err
		}
		awaited = awaitedOwners(dense(found[len(es):]))
		c.spared(found)
		var b batch
		for i, f := range found[:len(es)] {
			if f == nil || f.comment != es[i].comment {
				continue
			}
			if o, _ := parseOwner(f.owner()); !slices.Contains(awaited, o) {
				b.delete([]element{*f})
			}
		}
		if err = c.commit(&b, &generation); !hasErrno(err, unix.ERESTART, unix.ENOENT) {
			return awaited, err
		}
	}
	return nil, ErrInterrupted
}

// maxListings bounds how often elements are listed to get a list that no change went through.
const maxListings = 10

// onePiece is fewer elements than the kernel lists in one piece.
const onePiece = 32

// list returns all elements of all our sets, or none if there is no such set. The kernel goes
// through a set in pieces, and begins each where as many elements lie before it as it has listed.
// So it may skip an element when others go meanwhile, and a list that was made while the ruleset
// changed is made again. It also skips some while a set gets a larger table or a smaller one, some
// time after elements came or went. The ruleset's generation doesn't tell of that
// (nft_rhash_walk, net/netfilter/nft_set_hash.c). So a long list is made until one has nothing new.
// The answer is the union of all listings.
func (c *Conn) list() ([]element, error) { return c.listIn(c.sets) }

// listIn is list for the sets that a function finds.
func (c *Conn) listIn(find func() ([]set, error)) ([]element, error) {
	all := map[string]element{}
	for range maxListings {
		known := len(all)
		_, before, err := c.askIn(nil)
		if err != nil {
			return nil, err
		}
		sets, err := find()
		if err != nil {
			return nil, err
		}
		for _, s := range sets {
			err := c.dump(listElements(s), func(data []byte) error {
				return decodeElements(data, s, func(e element) { all[s.table.String()+s.name+string(e.key)] = e })
			})
			if err != nil && !errors.Is(err, errChanged) && !hasErrno(err, unix.ENOENT) {
				return nil, err
			}
		}
		_, after, err := c.askIn(nil)
		if err != nil {
			return nil, err
		}
		if before == after && (len(all) <= onePiece || len(all) == known) {
			break
		}
	}
	return slices.Collect(maps.Values(all)), nil
}

// sets lists the sets of masquerade and of the guard.
func (c *Conn) sets() ([]set, error) {
	sets := []set{guarded, allowed}
	err := c.setNames(func(name string) {
		if r, ok := roleOf(name); ok && !r.isPortSet() {
			sets = append(sets, r.set())
		} else if p, ok := oldSubnet(name); ok {
			sets = append(sets, oldMasqueradeSet(p))
		}
	})
	return sets, err
}

// listPorts lists the elements of all port mappings.
func (c *Conn) listPorts() ([]element, error) {
	return c.listIn(func() (sets []set, err error) {
		err = c.setNames(func(name string) {
			if r, ok := roleOf(name); ok && r.isPortSet() {
				sets = append(sets, r.set())
			} else if s, ok := oldPortSet(name); ok {
				sets = append(sets, s)
			}
		})
		return sets, err
	})
}

// setNames gives the names of the sets in the table of masquerade.
func (c *Conn) setNames(each func(name string)) error {
	return c.eachSet(func(name string, _ []byte) { each(name) })
}

// eachSet gives the sets in the table of masquerade, each with its attributes.
func (c *Conn) eachSet(each func(name string, data []byte)) error {
	err := c.dump(listSets(masqueradeTable), func(data []byte) error {
		name, err := attribute(data, unix.NFTA_SET_NAME)
		if err == nil {
			each(strings.TrimRight(string(name), "\x00"), data)
		}
		return err
	})
	if errors.Is(err, errChanged) || hasErrno(err, unix.ENOENT) {
		err = nil // the generations show it
	}
	return err
}

// nftaSetCount is NFTA_SET_COUNT (linux/netfilter/nf_tables.h, Linux 6.16).
const nftaSetCount = 20

// memberCount decodes how many elements a set has. ok is false if the kernel doesn't say.
func memberCount(set []byte) (n int, ok bool) {
	v, err := attribute(set, nftaSetCount)
	if err != nil || len(v) != 4 {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(v)), true
}
