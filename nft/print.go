// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// String prints the ruleset as "nft list ruleset" does when no container is attached.
func (r Ruleset) String() string { return r.needs().String() }

func (n need) String() string {
	text := ""
	if len(n.sets) > 0 {
		sets := orderedSets(slices.Clone(n.sets))
		chains := chainsOf(sets)
		for i, c := range chains {
			for _, x := range n.conditions {
				if x.name == c.name {
					chains[i] = x
				}
			}
		}
		text = printTable(masqueradeTable, sets, chains)
	}
	if n.guard {
		text += printTable(guardTable, []set{guarded, allowed}, []chain{guardChain()})
	}
	return text
}

func printTable(t table, sets []set, chains []chain) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s {\n", t)
	separator := ""
	for _, s := range sets {
		kind := "set"
		if s.key.isMap() {
			kind = "map"
		}
		fmt.Fprintf(&b, "%s\t%s %s {\n\t\ttype %s\n\t}\n", separator, kind, s.name, s.key)
		separator = "\n"
	}
	for _, c := range chains {
		fmt.Fprintf(&b, "%s\tchain %s {\n", separator, c.name)
		if c.hook.kind != "" {
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.hook.kind, c.hook.name, c.hook.priorityName)
		}
		for _, r := range c.rules {
			fmt.Fprintf(&b, "\t\t%s\n", r.text)
		}
		b.WriteString("\t}\n")
		separator = "\n"
	}
	return b.String() + "}\n"
}

// String prints what Attach adds as commands of the nft program, one a line.
func (a Sender) String() string {
	var b strings.Builder
	for _, e := range a.elements() {
		fmt.Fprintf(&b, "add element %s %s { %s }\n", e.set.table, e.set.name, e)
	}
	return b.String()
}

// String prints an element as the nft program writes it.
func (e element) String() string { return fmt.Sprintf("%s comment %q", e.keyText(), e.comment) }

// keyText prints the key, and what it leads to.
func (e *element) keyText() string {
	key, value := e.set.key.parts()
	text := partsText(key, e.key)
	if value != nil && e.data != nil {
		text += " : " + partsText(value, e.data)
	}
	return text
}

// partsText prints the parts of a key or value.
func partsText(parts []string, data []byte) string {
	words := make([]string, 0, len(parts))
	for _, p := range parts {
		n := partLen(p)
		if len(data) < n {
			break
		}
		words = append(words, partText(p, data[:n]))
		data = data[min(align(n), len(data)):]
	}
	return strings.Join(words, " . ")
}

func partText(part string, data []byte) string {
	switch part {
	case "ifname":
		name, _, _ := bytes.Cut(data, []byte{0})
		return strconv.Quote(string(name))
	case "ether_addr":
		return net.HardwareAddr(data).String()
	case "inet_service":
		return strconv.Itoa(int(binary.BigEndian.Uint16(data)))
	case "inet_proto":
		return Protocol(data[0]).String()
	}
	a, _ := netip.AddrFromSlice(data)
	return a.String()
}
