// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// String prints the ruleset as "nft list ruleset" does when nobody is attached.
func (r Ruleset) String() string {
	text := ""
	if sets := r.sets(); len(sets) > 0 {
		text = printTable(masqueradeTable, sets, []chain{masqueradeChain(sets)})
	}
	if r.Guard {
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
		if s.key.isPort() {
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
func (a Attachment) String() string {
	var b strings.Builder
	for _, e := range a.elements() {
		fmt.Fprintf(&b, "add element %s %s { %s }\n", e.set.table, e.set.name, e)
	}
	return b.String()
}

// String prints an element as the nft program writes it.
func (e element) String() string { return fmt.Sprintf("%s comment %q", e.keyText(), e.comment) }

func (e element) keyText() string {
	if e.set.key.isPort() {
		return e.portText()
	}
	if a, ok := netip.AddrFromSlice(e.key); ok && e.set.table == masqueradeTable {
		return a.String()
	}
	if e.set.key == pair4 || e.set.key == pair6 {
		a, _ := netip.AddrFromSlice(e.key[:len(e.key)/2])
		network, _ := netip.AddrFromSlice(e.key[len(e.key)/2:])
		return a.String() + " . " + network.String()
	}
	name, mac := e.key[:unix.IFNAMSIZ], e.key[unix.IFNAMSIZ:]
	name, _, _ = bytes.Cut(name, []byte{0})
	if e.set == allowed {
		return fmt.Sprintf("%q . %s", name, net.HardwareAddr(mac[:macLen]))
	}
	return fmt.Sprintf("%q", name)
}
