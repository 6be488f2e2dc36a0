// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// printTree prints networks, their attachments, and the parts of each.
func printTree(w io.Writer, n *node) error {
	if len(n.list) == 0 && isTerminal(w) {
		_, err := fmt.Fprintln(w, "nothing is attached")
		return err
	}
	for i, rest := 0, n.list; len(rest) > 0; i++ {
		of := rest
		if end := slices.IndexFunc(rest, func(h *held) bool { return h.Network != rest[0].Network }); end >= 0 {
			of = rest[:end]
		}
		rest = rest[len(of):]
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := n.printNetwork(w, of); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) printNetwork(w io.Writer, of []*held) error {
	head := of[0].Network
	var bridges []string
	for _, h := range of {
		if h.Bridge != "" && !slices.Contains(bridges, h.Bridge) {
			bridges = append(bridges, h.Bridge)
		}
	}
	for _, b := range bridges {
		head += "  bridge " + b
		if list := n.links.bridgeAddrs[b]; list != nil {
			head += " " + joinPrefixes(list)
		}
	}
	fmt.Fprintln(w, head)
	for i, h := range of {
		branch, below := "├─ ", "│  "
		if i == len(of)-1 {
			branch, below = "└─ ", "   "
		}
		fmt.Fprintf(w, "%s%s %s\n", branch, cell(h.ContainerID), cell(h.IfName))
		lines := h.lines(n.leasing[h.owner().Short().Network])
		for j, line := range lines {
			twig := "├─ "
			if j == len(lines)-1 {
				twig = "└─ "
			}
			if _, err := fmt.Fprintf(w, "%s%s%-9s%s\n", below, twig, line[0], line[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// lines are the parts of an attachment: a word and its value each. leases says whether its network
// keeps any.
func (h *held) lines(leases bool) (list [][2]string) {
	add := func(what, text string) { list = append(list, [2]string{what, text}) }
	switch {
	case h.Link == "":
		add("link", "unknown")
	case h.Exists == exists:
		add("link", h.Link)
	case h.Exists == missing:
		add("link", h.Link+" is gone")
	default:
		add("link", h.Link+" (of another network namespace)")
	}
	for _, a := range h.Addresses {
		var notes []string
		if !h.leased && leases {
			notes = append(notes, "no lease")
		}
		if slices.ContainsFunc(h.Masquerade, func(p netip.Prefix) bool { return p.Addr() == a }) {
			notes = append(notes, "masqueraded")
		}
		if slices.Contains(h.Firewall, a) {
			notes = append(notes, "through the firewall")
		}
		text := a.String()
		if notes != nil {
			text += "  " + strings.Join(notes, ", ")
		}
		add("address", text)
	}
	for _, p := range h.Ports {
		add("port", p.text)
	}
	if h.SpoofCheck {
		add("check", "of the source MAC")
	}
	return list
}

func joinPrefixes(list []netip.Prefix) string {
	var texts []string
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return strings.Join(texts, ", ")
}
