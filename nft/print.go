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
	var b strings.Builder
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "table %s {\n", t)
		separator := ""
		for s := range sets {
			if s.table() == t {
				fmt.Fprintf(&b, "%s\t%s {\n\t\ttype %s\n\t}\n", separator, s.noun(), s.datatype())
				separator = "\n"
			}
		}
		for _, c := range r.chains(t) {
			b.WriteString(separator + c.String())
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// String prints a chain as it stands in its table.
func (c chain) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\tchain %s {\n", c.name)
	if h := c.hook; h != nil {
		fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", h.kind, h.name, h.priorityName)
	}
	for _, r := range c.rules {
		fmt.Fprintf(&b, "\t\t%s\n", r)
	}
	b.WriteString("\t}\n")
	return b.String()
}

func (r rule) String() string {
	switch r.kind {
	case vmap4:
		return "ip saddr vmap @masq4"
	case vmap6:
		return "ip6 saddr vmap @masq6"
	case returnTo:
		family := "ip"
		if r.prefix.Addr().Is6() {
			family = "ip6"
		}
		text := r.prefix.String()
		if r.prefix.IsSingleIP() {
			text = r.prefix.Addr().String()
		}
		if r.prefix.Bits() == 0 {
			// Every address is in it. The nft program shows what is compared.
			text = fmt.Sprintf("& %[1]s == %[1]s", r.prefix.Addr())
		}
		return fmt.Sprintf("%s daddr %s return", family, text)
	case masquerade:
		return "masquerade"
	case dropSpoofed:
		return "iifname @guarded iifname . ether saddr != @allowed drop"
	}
	return ""
}

// noun is what the nft program calls the set with its kind.
func (s set) noun() string {
	if s.table() == masqueradeTable {
		return "map " + s.String()
	}
	return "set " + s.String()
}

func (s set) datatype() string {
	return [...]string{"ipv4_addr : verdict", "ipv6_addr : verdict", "ifname", "ifname . ether_addr"}[s]
}

// String prints what Attach adds as commands of the nft program, one a line.
func (a Attachment) String() string {
	var b strings.Builder
	for _, e := range a.elements() {
		fmt.Fprintf(&b, "add element %s %s { %s }\n", e.set.table(), e.set, e)
	}
	return b.String()
}

// String prints an element as the nft program writes it.
func (e element) String() string {
	s := fmt.Sprintf("%s comment %q", e.keyText(), e.comment)
	if e.chain != "" {
		s += " : goto " + e.chain
	}
	return s
}

func (e element) keyText() string {
	if e.set == masq4 || e.set == masq6 {
		a, _ := netip.AddrFromSlice(e.key)
		return a.String()
	}
	name, _, _ := bytes.Cut(e.key[:unix.IFNAMSIZ], []byte{0})
	if e.set == allowed {
		return fmt.Sprintf("%q . %s", name, net.HardwareAddr(e.key[unix.IFNAMSIZ:][:macLen]))
	}
	return fmt.Sprintf("%q", name)
}
