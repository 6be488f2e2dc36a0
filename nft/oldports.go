// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Earlier versions had one map for the ports of all protocols, which Debian 11's nft can list and
// not load: ports4, hostports4, and with "-" and a hash those of conditions. Each had base chains
// of its own. So had each subnet whose containers had ports (hairpin4-10.1.0.0/24), and masqall4.
const (
	oldPortsName     = "ports"
	oldHostPortsName = "hostports"

	oldPort4     keyKind = "inet_proto . inet_service : ipv4_addr . inet_service"
	oldPort6     keyKind = "inet_proto . inet_service : ipv6_addr . inet_service"
	oldHostPort4 keyKind = "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"
	oldHostPort6 keyKind = "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"
)

// formerChain is the chain of masquerade for ports as it was when it stood among everybody's source
// NAT.
func formerChain(sets []set) chain {
	return chain{masqueradeTable, "postrouting-ports", hook{"nat", postrouting, "srcnat", unix.NF_INET_POST_ROUTING, 100}, masqueradeRules(sets)}
}

// former returns it if it exists.
func (c *Conn) former() ([]chain, error) { return c.present([]chain{formerChain(nil)}) }

// oldHairpin returns the set that an earlier version had for the addresses of a prefix's subnet.
func oldHairpin(p netip.Prefix) set {
	f := familyOf(p.Addr())
	_, subnet, _ := strings.Cut(oldMasqueradeSet(p).name, "-")
	return set{masqueradeTable, f.name(hairpinName) + "-" + subnet, pick(f, address4, address6)}
}

// oldPortSet returns the set of an earlier version's port mappings that has a name, if there is
// one.
func oldPortSet(name string) (set, bool) {
	if rest, ok := strings.CutPrefix(name, hairpinName); ok {
		p, ok := oldSubnet(masqName + rest)
		return oldHairpin(p), ok
	}
	for _, f := range families() {
		for _, head := range []string{oldPortsName, oldHostPortsName} {
			rest, ok := strings.CutPrefix(name, f.name(head))
			if !ok || rest != "" && rest[0] != '-' || strings.Contains(rest, "/") {
				continue
			}
			k := pick(f, oldPort4, oldPort6)
			if head == oldHostPortsName {
				k = pick(f, oldHostPort4, oldHostPort6)
			}
			return set{masqueradeTable, name, k}, true
		}
	}
	return set{}, false
}

// oldMapping decodes an element of an earlier version's map.
func (e *element) oldMapping() (at groupPlace, to netip.AddrPort, ok bool) {
	if _, ok := oldPortSet(e.set.name); !ok || !e.set.key.isMap() || len(e.key) != e.set.key.len() {
		return at, to, false
	}
	name, hash, _ := strings.Cut(e.set.name, "-")
	at.group = portGroup{portFamily(name[len(name)-1]), hash}
	key := e.key
	if len(key) > 8 {
		n := at.group.family.bits() / 8
		at.host, _ = netip.AddrFromSlice(key[:n])
		key = key[n:]
	}
	at.protocol, at.port = Protocol(key[0]), binary.BigEndian.Uint16(key[4:])
	to, ok = target(e.data)
	return at, to, ok
}

// oldPorts are an earlier version's port mappings.
type oldPorts struct {
	sets     []set
	mappings []element
	chosen   map[netip.Addr]rune // the masqueraded traffic, by container address
}

func (o *oldPorts) add(s set, members []element) {
	o.sets = append(o.sets, s)
	if s.key.isMap() {
		o.mappings = append(o.mappings, members...)
		return
	}
	for _, e := range members {
		if a, ok := netip.AddrFromSlice(e.key); ok {
			o.chosen[a] = masqueradesHairpin
		}
	}
}

// groups returns the groups of the mappings.
func (o *oldPorts) groups() (list []portGroup) {
	seen := map[portGroup]bool{}
	for _, s := range o.sets {
		name, hash, _ := strings.Cut(s.name, "-")
		g := portGroup{portFamily(name[len(name)-1]), hash}
		if s.key.isMap() && !seen[g] {
			seen[g] = true
			list = append(list, g)
		}
	}
	return list
}

// oldChainName returns the name of a group's base chain in an earlier version.
func (g portGroup) oldChainName(hook string) string {
	name := hook + "-" + g.family.name(oldPortsName)
	if g.hash != "" {
		name += "-" + g.hash
	}
	return name
}

// chains returns the chains whose names aren't those of sets.
func (o *oldPorts) chains() (cs []chain) {
	for _, g := range o.groups() {
		for _, hook := range []string{prerouting, "output"} {
			cs = append(cs, chain{table: masqueradeTable, name: g.oldChainName(hook)})
		}
	}
	if len(o.sets) > 0 {
		for _, f := range families() {
			cs = append(cs, chain{table: masqueradeTable, name: f.name(masqAllName)})
		}
	}
	return cs
}

// takeOverPorts adds the mappings to a takeover. The sets published4 and masqall4 keep their names.
func (c *Conn) takeOverPorts(t *takeover, o *oldPorts) error {
	notes := map[netip.Addr]publishedAddress{}
	for _, f := range families() {
		all, err := c.membersOf(f.masqAll(usualBit))
		if err != nil {
			return err
		}
		for _, e := range all {
			if a, ok := netip.AddrFromSlice(e.key); ok {
				o.chosen[a] = masqueradesAll
			}
		}
		addrs, err := c.membersOf(f.published())
		if err != nil {
			return err
		}
		for _, e := range addrs {
			v, ok := e.published()
			if !ok || !v.old {
				continue
			}
			if kind := o.chosen[v.Addr()]; kind != 0 {
				v.masquerades = kind
			}
			notes[v.Addr()] = v
			t.replaced = append(t.replaced, e)
			t.elements = append(t.elements, v.elements(e.owner())...)
		}
	}
	for _, e := range o.mappings {
		at, to, ok := e.mapping()
		v, ok2 := notes[to.Addr()]
		if ok && ok2 {
			t.elements = append(t.elements, v.mapping(at, to.Port(), e.owner())...)
		}
	}
	for _, g := range o.groups() {
		t.sets = append(t.sets, g.sets()...)
		t.sets = append(t.sets, g.snat(false, usualBit), g.snat(true, usualBit))
		if g.hash == "" {
			continue
		}
		rule, err := c.oldCondition(g)
		if err != nil {
			return err
		}
		t.rules = append(t.rules, rule...)
	}
	return nil
}

// oldCondition makes the rule that asks a group's conditions from the one in its old chain, since
// their hash doesn't tell what they are. In the old chain they come before the question whether the
// packet is for the host.
func (c *Conn) oldCondition(g portGroup) (rules []netlink.Message, err error) {
	err = c.dump(listRules(masqueradeTable, g.oldChainName(prerouting)), func(data []byte) error {
		r, err := decodeRule(data)
		if err == nil && rules == nil {
			rules = append(rules, g.oldConditionRule(conditionExpressions(r.exprs)))
		}
		return err
	})
	return rules, err
}

// conditionExpressions are the expressions before the first look at the routes.
func conditionExpressions(exprs []byte) []byte {
	as := attributes{rest: exprs}
	for before := as.rest; as.next(); before = as.rest {
		if name, _ := attribute(as.value, unix.NFTA_EXPR_NAME); string(name) == "fib\x00" {
			return bytes.Clone(exprs[:len(exprs)-len(before)])
		}
	}
	return nil
}

// oldConditionRule is the rule of a group's chain of conditions, with expressions as the kernel
// lists them.
func (g portGroup) oldConditionRule(conditions []byte) netlink.Message {
	var b batch
	b.chain(portChain{name: g.chainName(whenChain), rules: []portRule{jump("", nil, g.chainName(portsChain))}}.chain())
	ms := b.messages()
	m := ms[len(ms)-1]
	jumps, _ := attribute(m.Data[genMessageLen:], unix.NFTA_RULE_EXPRESSIONS)
	data := append(make([]byte, 0, len(m.Data)+len(conditions)), m.Data[:genMessageLen]...)
	data = appendText(data, unix.NFTA_RULE_TABLE, masqueradeTable.name)
	data = appendText(data, unix.NFTA_RULE_CHAIN, g.chainName(whenChain))
	m.Data = appendBytes(data, unix.NFTA_RULE_EXPRESSIONS|unix.NLA_F_NESTED, append(conditions, jumps...))
	return m
}
