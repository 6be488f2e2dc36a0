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
		for _, x := range r.sets(t) {
			fmt.Fprintf(&b, "%s\tset %s {\n\t\ttype %s\n\t}\n", separator, x.name, x.key)
			separator = "\n"
		}
		for _, c := range r.chains(t) {
			fmt.Fprintf(&b, "%s\tchain %s {\n", separator, c.name)
			fmt.Fprintf(&b, "\t\ttype %s hook %s priority %s; policy accept;\n", c.hook.kind, c.hook.name, c.hook.priorityName)
			fmt.Fprintf(&b, "\t\t%s\n\t}\n", c.rule)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func (r rule) String() string {
	p := r.subnet
	if !p.IsValid() {
		return "iifname @guarded iifname . ether saddr != @allowed drop"
	}
	family, text := "ip", p.String()
	if p.Addr().Is6() {
		family = "ip6"
	}
	if p.IsSingleIP() {
		text = p.Addr().String()
	}
	return fmt.Sprintf("%[1]s saddr @%[2]s %[1]s daddr != %[3]s %[1]s daddr != %[4]s masquerade", family, masqueradeSet(p).name, text, multicast(p))
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
	name, mac := e.key[:unix.IFNAMSIZ], e.key[unix.IFNAMSIZ:]
	name, _, _ = bytes.Cut(name, []byte{0})
	if e.set == allowed {
		return fmt.Sprintf("%q . %s", name, net.HardwareAddr(mac[:macLen]))
	}
	return fmt.Sprintf("%q", name)
}
