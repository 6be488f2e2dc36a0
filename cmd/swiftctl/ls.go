// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/swiftcni/swiftcni/ipam"
)

func newLs() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List attachments by the leases that they hold",
		Long: "List the attachments of all networks whose leases are in a directory. Nothing is changed. LINK is the host\n" +
			"end and EXISTS whether it is there: unknown for leases that host-local took, and for links of another\n" +
			"network namespace. Networks without IPAM, or with another than host-local, leave no leases to list.\n" +
			"What can't be read is named on standard error, and makes the exit status 1.",
		Args: cobra.NoArgs,
	}
	dir := cmd.Flags().String("data-dir", ipam.DefaultDir, "`directory` of the leases: host-local's dataDir")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		list, err := inventory(*dir)
		if errors.Is(err, fs.ErrNotExist) && list == nil && !cmd.Flags().Changed("data-dir") {
			err = nil // nothing was ever leased here
		}
		print := printTable
		if *asJSON {
			print = printListJSON[held]
		}
		return errors.Join(print(cmd.OutOrStdout(), list), err)
	})
	return cmd
}

func printTable(w io.Writer, list []held) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NETWORK\tCONTAINER\tIFNAME\tADDRESSES\tLINK\tEXISTS")
	for _, h := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Network, cell(h.ContainerID), cell(h.IfName),
			cell(joinAddrs(h.Addresses)), cell(h.Link), h.Exists)
	}
	return t.Flush()
}

func joinAddrs(list []netip.Addr) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

// cell is a value as one word of the table. What a lease holds may be anything, so what could move the cursor or
// the columns is quoted.
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
