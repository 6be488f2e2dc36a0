// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/ipam"
)

func newLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List attachments with their links, addresses and published ports",
		Long: "List the attachments of all networks, joined from leases, links and ruleset. Leases are looked for in host-local's\n" +
			"default directory and in those of configurations in --conf-dir. With --data-dir, they are looked for only there,\n" +
			"and only networks that have leases there are listed. Nothing is changed.\n\n" +
			"LINK is the host end, and EXISTS says whether it exists. It's unknown for leases that host-local made, and for\n" +
			"links of another network namespace. In a tree, each network shows its bridge, and each attachment shows its rules.\n" +
			"If something can't be read, it's named on standard error, and the exit status is 1.",
		Args: cobra.NoArgs,
	}
	dirs, conf := dataDirFlag(cmd), confFlag(cmd)
	format := cmd.Flags().StringP("output", "o", "table", "`form` of the list: table, tree or json")
	asJSON := cmd.Flags().Bool("json", false, "short for --output json")
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // there is no such flag: a mistake a few lines above
	}
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		if *asJSON {
			*format = "json"
		}
		show, known := printer(*format)
		if !known {
			return &usageError{fmt.Errorf("--output: %q, expected one of %s", *format, strings.Join(formats(), ", "))}
		}
		named := cmd.Flags().Changed("data-dir")
		if !named {
			confs, _ := readConfs(nil, *conf, false) // a wrong one is no reason to show less
			*dirs = dataDirs(*dirs, confs)
		}
		n, err := readNode(cmd.Context(), existing(*dirs, named))
		if named {
			n.onlyLeasing()
		}
		return errors.Join(show(cmd.OutOrStdout(), n), err)
	})
	return cmd
}

// dataDirFlag gives a command the flag --data-dir.
func dataDirFlag(cmd *cobra.Command) *[]string {
	return cmd.Flags().StringArray("data-dir", []string{ipam.DefaultDir}, "`directory` of leases: host-local's dataDir; may be repeated")
}

// printer returns the function that prints a list in a form.
func printer(format string) (show func(io.Writer, *node) error, known bool) {
	switch format {
	case "table":
		return printTable, true
	case "tree":
		return printTree, true
	case "json":
		return func(w io.Writer, n *node) error { return printListJSON(w, n.list) }, true
	}
	return nil, false
}

func formats() []string { return []string{"table", "tree", "json"} }

func printTable(w io.Writer, n *node) error {
	if len(n.list) == 0 && isTerminal(w) {
		_, err := fmt.Fprintln(w, "nothing is attached")
		return err
	}
	return fit(w, n.table)
}

func (n *node) table(w io.Writer, id func(string) string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NETWORK\tCONTAINER\tIFNAME\tADDRESSES\tLINK\tEXISTS\tPORTS")
	for _, h := range n.list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Network, id(h.ContainerID), cell(h.IfName),
			cell(joinAddrs(h.Addresses)), cell(h.Link), h.Exists, cell(strings.Join(h.hostPorts(), ",")))
	}
	return t.Flush()
}

// hostPorts are the host's ports that lead to the attachment, each once: "8080/tcp",
// "192.0.2.1:53/udp".
func (h *held) hostPorts() (list []string) {
	for _, p := range h.Ports {
		text := strconv.Itoa(int(p.HostPort)) + "/" + p.Protocol
		if p.HostIP.IsValid() && !p.HostIP.IsUnspecified() {
			text = netip.AddrPortFrom(p.HostIP, p.HostPort).String() + "/" + p.Protocol
		}
		if !slices.Contains(list, text) { // both families have it
			list = append(list, text)
		}
	}
	return list
}

func joinAddrs(list []netip.Addr) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// cell is a value as one word of the table. A lease may hold anything, so a text that could move
// the cursor or the columns is quoted.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

func printListJSON[T any](w io.Writer, list []T) error {
	if list == nil {
		list = []T{}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "    ")
	return e.Encode(list)
}
