// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/swiftcni/swiftcni/internal/order"
	"golang.org/x/sys/unix"
)

// Filters are all chains and rules of the host, of all programs, as they were read. They tell what
// becomes of a packet. Reading them takes longer the more rules there are, so they aren't for
// attaching. They don't change any more, and many goroutines may use them.
type Filters struct {
	bases   []baseChain
	dormant []string // tables
	rules   map[table]map[string][]heldRule
	sets    map[table]map[string]*listedSet
}

// heldRule is a rule that is kept.
type heldRule struct {
	handle uint64
	exprs  []byte
}

// baseChain is a chain that the kernel visits.
type baseChain struct {
	table    table
	name     string
	kind     string // "filter", "nat"
	hook     uint32
	priority int32
	drops    bool // its policy
}

// A Barrier is another program's chain that drops a packet. No chain of another table can let a
// packet past it.
type Barrier struct {
	Table string // "ip filter"
	Chain string // "FORWARD"
}

func (b Barrier) String() string { return b.Table + " " + b.Chain }

// Filters reads the rules of the families in which packets are forwarded, and of bridges. They are
// listed again if they change meanwhile.
func (c *Conn) Filters() (*Filters, error) {
	for range maxTries {
		f := &Filters{rules: map[table]map[string][]heldRule{}, sets: map[table]map[string]*listedSet{}}
		var err error
		for _, family := range [...]byte{unix.NFPROTO_INET, unix.NFPROTO_IPV4, unix.NFPROTO_IPV6, unix.NFPROTO_BRIDGE} {
			err = errors.Join(err, f.read(c, family))
		}
		if !errors.Is(err, errChanged) {
			return f, err
		}
	}
	return nil, ErrInterrupted
}

func (f *Filters) read(c *Conn, family byte) error {
	for _, list := range []struct {
		kind  int
		entry func(byte, []byte)
	}{{unix.NFT_MSG_GETTABLE, f.addTable}, {unix.NFT_MSG_GETCHAIN, f.addChain}, {unix.NFT_MSG_GETRULE, f.addRule}, {unix.NFT_MSG_GETSET, f.addSet}} {
		err := c.dump(request(list.kind, family), func(data []byte) error {
			list.entry(family, data)
			return nil
		})
		if err != nil {
			return err
		}
	}
	for t, sets := range f.sets {
		for _, s := range sets {
			if err := s.read(c, t); t.family == family && err != nil {
				return err
			}
		}
	}
	return nil
}

func textOf(data []byte, kind int) string {
	b, _ := attribute(data, kind)
	return string(bytes.TrimRight(b, "\x00"))
}

func (f *Filters) addTable(family byte, data []byte) {
	if numberOf(data, unix.NFTA_TABLE_FLAGS)&unix.NFT_TABLE_F_DORMANT != 0 {
		f.dormant = append(f.dormant, table{family, textOf(data, unix.NFTA_TABLE_NAME)}.String())
	}
}

func (f *Filters) addChain(family byte, data []byte) {
	hook, _ := attribute(data, unix.NFTA_CHAIN_HOOK)
	if hook == nil {
		return
	}
	b := baseChain{table: table{family, textOf(data, unix.NFTA_CHAIN_TABLE)}, name: textOf(data, unix.NFTA_CHAIN_NAME),
		kind: textOf(data, unix.NFTA_CHAIN_TYPE), hook: numberOf(hook, unix.NFTA_HOOK_HOOKNUM), priority: int32(numberOf(hook, unix.NFTA_HOOK_PRIORITY))}
	policy, _ := attribute(data, unix.NFTA_CHAIN_POLICY)
	// NF_DROP (linux/netfilter.h)
	b.drops = len(policy) == 4 && binary.BigEndian.Uint32(policy) == 0
	f.bases = append(f.bases, b)
}

func (f *Filters) addRule(family byte, data []byte) {
	t, chain := table{family, textOf(data, unix.NFTA_RULE_TABLE)}, textOf(data, unix.NFTA_RULE_CHAIN)
	r, err := decodeRule(data)
	if err != nil {
		return
	}
	if f.rules[t] == nil {
		f.rules[t] = map[string][]heldRule{}
	}
	f.rules[t][chain] = append(f.rules[t][chain], heldRule{r.handle, bytes.Clone(r.exprs)})
}

// Dormant lists tables that the kernel skips: those with the flag dormant.
func (f *Filters) Dormant() []string { return f.dormant }

// Has reports whether a chain has any rule: "ip filter", "ufw-user-forward".
func (f *Filters) Has(in, chain string) bool {
	for t, chains := range f.rules {
		if t.String() == in && chains[chain] != nil {
			return true
		}
	}
	return false
}

// Stops returns the first chain of another program that is sure to drop a packet that the host
// forwards, and whether there is one. A rule that may accept the packet counts as one that does.
func (f *Filters) Stops(p Packet) (Barrier, bool) {
	for _, b := range f.at(unix.NF_INET_FORWARD, "", p.family()) {
		o := f.walk(b, &p)
		if !o.accepts && (b.drops || !o.returns) {
			return Barrier{b.table.String(), b.name}, true
		}
	}
	return Barrier{}, false
}

// Translates returns a rule of another program that may send a packet for the host elsewhere
// because of its port, as the nft program names it: "ip nat DOCKER handle 7". If there is none, it
// returns "".
func (f *Filters) Translates(p Packet) (rule string) {
	for _, b := range f.at(unix.NF_INET_PRE_ROUTING, "nat", p.family()) {
		if rule = f.walk(b, &p).translates; rule != "" {
			return rule
		}
	}
	return ""
}

// BaseChains returns the names of our own tables' base chains, each of which the kernel visits for
// each packet or connection.
func (f *Filters) BaseChains() (names []string) {
	for _, b := range f.bases {
		if b.table == masqueradeTable {
			names = append(names, b.name)
		}
	}
	slices.Sort(names)
	return names
}

// at returns the chains of others that see a family's packets at a hook, in the kernel's order.
func (f *Filters) at(hook uint32, kind string, family portFamily) (list []baseChain) {
	for _, b := range f.bases {
		switch {
		case b.hook != hook, kind != "" && b.kind != kind, b.table == masqueradeTable, slices.Contains(f.dormant, b.table.String()):
		case b.table.family == unix.NFPROTO_INET, b.table.family == filterTable(family).family:
			list = append(list, b)
		}
	}
	order.By(list, func(a, b baseChain) int { return cmp.Compare(a.priority, b.priority) })
	return list
}

func (f *Filters) walk(b baseChain, p *Packet) outcome {
	sets := func(name string) *listedSet {
		if s := f.sets[b.table][name]; s != nil {
			return s
		}
		return new(listedSet)
	}
	w := newWalk(func(chain string) (steps []step) {
		for _, r := range f.rules[b.table][chain] {
			s := evaluate(p, r.exprs, sets)
			if s.does == translates {
				s.chain = b.table.String() + " " + chain + " handle " + strconv.FormatUint(r.handle, 10)
			}
			steps = append(steps, s)
		}
		return steps
	})
	return w.chain(b.name, false)
}
